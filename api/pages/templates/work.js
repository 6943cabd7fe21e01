// Finds a number such that SHA-256 of "seal:number" begins with the wanted zero
// bits, a slice of time after the other so that the page stays alive. The
// browser's own SHA-256 is there over TLS only, hence this one.
(function () {
  "use strict";
  var place = document.getElementById("work");
  var answer = document.getElementById("work-answer");
  var button = answer.form.querySelector("button");
  var bits = Number(place.dataset.bits);
  var prefix = place.dataset.seal + ":";

  // Roots of the primes: the constants of SHA-256 are their fractions.
  var fraction = function (x) { return ((x - Math.floor(x)) * 4294967296) | 0; };
  var start = new Int32Array(8), round = new Int32Array(64);
  for (var n = 2, found = 0; found < 64; n++) {
    var prime = true;
    for (var d = 2; d * d <= n; d++) { if (n % d === 0) { prime = false; break; } }
    if (!prime) { continue; }
    if (found < 8) { start[found] = fraction(Math.sqrt(n)); }
    round[found++] = fraction(Math.cbrt(n));
  }

  var state = new Int32Array(8), w = new Int32Array(64);
  function rotate(x, n) { return (x >>> n) | (x << (32 - n)); }
  function block(words, at) {
    var i, t1, t2, s0, s1;
    for (i = 0; i < 16; i++) { w[i] = words[at + i]; }
    for (i = 16; i < 64; i++) {
      s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ (w[i - 15] >>> 3);
      s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ (w[i - 2] >>> 10);
      w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
    }
    var a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
    for (i = 0; i < 64; i++) {
      t1 = (h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + round[i] + w[i]) | 0;
      t2 = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g; g = f; f = e; e = (d + t1) | 0; d = c; c = b; b = a; a = (t1 + t2) | 0;
    }
    state[0] += a; state[1] += b; state[2] += c; state[3] += d; state[4] += e; state[5] += f; state[6] += g; state[7] += h;
  }
  // The first 32 bits of the hash of an ASCII text.
  function hash(text) {
    var words = new Int32Array((((text.length + 8) >> 6) + 1) * 16);
    for (var i = 0; i < text.length; i++) { words[i >> 2] |= text.charCodeAt(i) << (24 - (i & 3) * 8); }
    words[text.length >> 2] |= 0x80 << (24 - (text.length & 3) * 8);
    words[words.length - 1] = text.length * 8;
    state.set(start);
    for (var at = 0; at < words.length; at += 16) { block(words, at); }
    return state[0];
  }

  var number = 0;
  function slice() {
    var until = Date.now() + 30;
    while (Date.now() < until) {
      for (var i = 0; i < 100; i++, number++) {
        if (Math.clz32(hash(prefix + number)) >= bits) {
          answer.value = String(number);
          place.textContent = "The check against scripts is done.";
          button.disabled = false;
          return;
        }
      }
    }
    setTimeout(slice, 0);
  }
  button.disabled = true;
  place.textContent = "Your browser solves a small puzzle, which keeps scripts from sending mail.";
  slice();
})();
