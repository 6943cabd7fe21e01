package entity

// MarkRecord says in a stored record, in place, whether its entity has edges out
// (out) or in, and reports whether that is news. All versions have the flags in
// their second byte.
func MarkRecord(record []byte, out, has bool) bool {
	flag := byte(flagHasIn)
	if out {
		flag = flagHasOut
	}
	if len(record) < 2 || (record[1]&flag != 0) == has {
		return false
	}
	record[1] ^= flag
	return true
}
