// Package mail renders the mails of accounts and organisations, and hands them
// to a mail server, a directory or the log.
//
// A Message is what a durable task carries: which mail, to whom, and the values
// of its variables; no text. Templates turn it into a subject, a text and an HTML
// part when it is sent, so that a template changed meanwhile holds, and a
// directory of the operator's overrides those that come with the program. A
// Sender renders and delivers; there are three, safe for concurrent use:
//
//   - SMTP gives each recipient a mail of their own, over one connection.
//   - Spool writes the same mails as files, for whatever picks them up.
//   - Log writes the link of the mail to the log: an installation without a mail
//     server can be used all the same.
//
// What a caller can rely on:
//
//   - A mail is delivered at least once. One of which nobody knows whether it
//     was accepted counts as not delivered. Its Message-ID is a function of the
//     message's id and the recipient, so that a double can be told as one.
//   - An error says which recipients are left and which were refused for good:
//     Rest gives the message to try again with.
//   - A value, whatever is in it, stays within the place of its placeholder: it
//     makes no header, no recipient and no markup.
//   - The link is the last thing in the text part. Clients take what comes after
//     the last "token=".
//
// When to send which mail, and when to try again, is the caller's.
package mail
