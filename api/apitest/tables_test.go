package apitest_test

import "strings"

var contentTypes = []string{
	"application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "multipart/form-data; boundary=b",
	"application/octet-stream", "application/json; charset=utf-16", "text/xml", "*/*", ";", "application/vnd.api+json",
}

// badBodies are bodies that are no JSON, or say what nobody may say.
func badBodies() []string {
	return []string{
		"{", "}", "[", "]", "null", "true", "0", `""`, "{}", "[]", "[[]]", "[1]", "[null]", `[{}]`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{'a':1}`,
		`{"a":1}{"b":2}`, `{"a":01}`, `{"a":1e999}`, `{"a":-}`, `{"a":NaN}`, `{"a":Infinity}`, `{"a":0x10}`, `{"a":"\u12"}`, `{"a":"\ud800"}`,
		"{\"a\":\"\x00\"}", "{\"a\":\"\xff\"}", "{\"\xff\":1}", "\xef\xbb\xbf{\"a\":1}", "\xff\xfe{\x00}\x00", `{"":1}`, `{" ":1}`, `{"a":1,"a":2,"A":3}`,
		`{"a":"` + "\n" + `"}`, `// x`, `<xml/>`, "a=b&c=%", "a=%00", "=", "&&&", "--b\r\n\r\n--b--", strings.Repeat(" ", 100), strings.Repeat("[", 10_000),
		strings.Repeat(`{"a":`, 10_000), `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", `{"a":` + strings.Repeat("9", 2000) + "}",
		`{"` + strings.Repeat("k", 5000) + `":1}`, `{"name":` + strings.Repeat(`[`, 50) + strings.Repeat(`]`, 50) + `}`, `{"name":{"a":1}}`, `{"name":["x"]}`,
		`{"name":""}`, `{"name":null}`, `{"name":"` + strings.Repeat("n", 5000) + `"}`, `{"name":"a/b"}`, `{"name":"..\\..\\x"}`, `{"name":"\u0000"}`,
		`{"uuid":"x","type":1,"created":"x","modified":{},"metadata":[]}`, `{"created":-1}`, `{"created":1e30}`, `{"timestamp":-1e30}`,
		`{"location":{"latitude":"x","longitude":{}}}`, `{"location":{"latitude":1}}`, `{"location":{"latitude":1e308,"longitude":-1e308}}`, `{"location":7}`,
		`{"username":{},"password":[]}`, `{"username":"x","password":{"a":1},"pin":null}`, `{"username":"me"}`, `{"username":"` + strings.Repeat("u", 300) + `","email":"@"}`,
		`{"username":"x","email":17,"activated":"perhaps"}`, `{"grant_type":"password"}`, `{"grant_type":"password","username":"","password":""}`,
		`{"grant_type":["password"],"username":{},"password":1}`, `{"grant_type":"password","username":"dana\u0000","password":"` + strings.Repeat("p", 4000) + `"}`,
		`{"grant_type":"client_credentials","client_id":"b3U6","client_secret":"x"}`, `{"grant_type":"pin"}`, `{"grant_type":"password","username":"dana","password":"x","ttl":"-1"}`,
		`{"grant_type":"password","username":"nobody","password":"x","ttl":99999999999999999999}`, `{"organization":"","username":"","email":"","password":""}`,
		`{"organization":"management","username":"u","email":"u@example.org","password":"xyxyxy"}`, `{"organization":"a/b","username":"..","email":"x","password":"y"}`,
		`{"organization":{},"name":[]}`, `{"metadata":{"collections":{"":{}}}}`, `{"metadata":{"collections":{"a/b":1,"\u0000":2}}}`, `{"accesstokenttl":"x"}`,
		`{"accesstokenttl":-1}`, `{"accesstokenttl":1e5}`, `{"number":1,"partition":99,"organization":"x","open":true}`, `{"newpassword":{},"oldpassword":[]}`,
		`{"newpassword":"","oldpassword":""}`,
	}
}

// badSegments are path segments as they are sent.
var badSegments = []string{
	"items", ".", "..", "%2e%2e", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "%00", "%", "%zz", "%ff", "%c0%ae", "%u0041", "a%2fb", "a;b=c", ";", "*", "{}", "%7B%7D",
	"{ql=select}", "'", "%22", "%3Cscript%3E", "null", "undefined", "-1", "0", "9999999999999999999999", "00000000-0000-0000-0000-000000000000",
	"ffffffff-ffff-ffff-ffff-ffffffffffff", "{id}", "%20", "+", "%0d%0aX:%20y", "me", "ME", "all", "_settings", "%F0%9F%98%80", "%C4%B0tems", "a/b/c/d/e",
	"//", "/", "x//y", strings.Repeat("a", 3000), strings.Repeat("a/", 70), strings.Repeat("%41", 1000), "token", "credentials", "management", "__proto__", "constructor",
}

var badQueries = []string{
	"limit=", "limit=-1", "limit=x", "limit=99999999999999999999", "limit=1e3", "limit=1&limit=2", "limit[]=1", "limit=%00", "cursor=", "cursor=x", "cursor={cursor}x",
	"cursor=%FF", "cursor=" + strings.Repeat("A", 5000), "cursor=AAAA", "start=x", "start={id}", "reversed=perhaps", "ql=", "ql=select", "ql=select%20*%20where", "ql='", "ql=%FF%00",
	"q=" + strings.Repeat("(", 2000), "query=select%20*%20order%20by", "filter=x", "filter=%7B", "access_token=", "access_token=x", "access_token={token}x", "access_token=%00",
	"client_id=x&client_secret=y", "client_id=b3U6&client_secret=%FF", "callback=x", "callback=%3Cscript%3E", "callback=a(b)", "callback=" + strings.Repeat("c", 500), "callback=",
	"&&&&", "=", "==", "%", "%zz=%zz", "?", "a=b?c=d", "#", "a#b", strings.Repeat("a=b&", 2000), strings.Repeat("x", 11000), "+=+", "ttl=-1", "ignore_error=maybe", "deleted=x",
}

var badHeaders = []string{
	"Authorization: Bearer", "Authorization: Bearer ", "Authorization: Bearer x", "Authorization: bearer {token}x", "Authorization: Basic", "Authorization: Basic =",
	"Authorization: Basic Og==", "Authorization: Basic /w==", "Authorization: Basic YWJj", "Authorization: Basic cm9vdDp4", "Authorization: Digest x", "Authorization: ,,,,",
	"Authorization: " + strings.Repeat("Bearer x,", 300), "Accept: application/javascript", "Accept: ;;;", "Accept-Encoding: gzip;q=x", "Content-Encoding: gzip", "Content-Encoding: br",
	"Content-Encoding: gzip, gzip", "Content-Type: ", "Content-Type: application/json; charset=\"", "Content-Type: " + strings.Repeat("a", 3000), "Idempotency-Key: " + strings.Repeat("k", 300),
	"Idempotency-Key: k", "X-Request-Id: \x7f\xff", "X-Trellis-Consistency: x", "X-Trellis-Consistency: stale", "Origin: null", "Origin: x y z", "Referer: http://", "Referer: %%%",
	"Range: bytes=0-", "If-None-Match: *", "Expect: 100-continue", "Expect: x", "X-HTTP-Method-Override: DELETE", "Connection: Upgrade", "Cookie: " + strings.Repeat("c=d;", 500),
	"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: evil", "Access-Control-Request-Method: x\x01", "Trailer: x", "Te: trailers", "Date: x",
}

var goodTargets = []string{
	"GET {app}", "GET {app}/items", "GET {app}/items?limit=2&cursor={cursor}", "GET {app}/items/hammer", "GET {app}/items/{id}", "GET {app}/users/me", "GET {app}/status",
	"GET {app}/credentials", "GET /management/me", "GET /management/orgs/acme", "GET /management/orgs/acme/apps/sandbox", "GET /management/users/dana", "GET /status",
	"GET /apps", "POST {app}/items", "PUT {app}/items/nail", "PUT {app}/items/{id}", "POST {app}/users", "PUT {app}", "POST {app}/token", "POST /management/token",
	"POST /management/users", "POST /management/orgs/acme/apps", "PUT {app}/users/me/revoketokens", "DELETE {app}/items/nobody", "GET /acme/sandbox/items?access_token={token}",
	"POST {app}/events", "PUT {app}/events/{id}", "GET {app}/events?last={id}&limit=5", "GET {app}/counters?counter=a.b:dana::x&resolution=day&start_time=1500000000000&end_time=1600000000000&pad=true",
}

var goodBodies = []string{
	`{"name":"saw","price":12.5,"tags":["a","b"],"size":{"w":1,"h":2},"when":1700000000000,"ok":true,"none":null}`,
	`[{"name":"a"},{"name":"b","n":[1,2,3]}]`, `{"username":"zoe","email":"zoe@example.org","password":"zoe-secret","name":"Zoe"}`,
	`{"grant_type":"password","username":"dana","password":"wrong","ttl":1000}`, `{"metadata":{"collections":{"widgets":{}}},"color":"red"}`,
	`{"location":{"latitude":52.5,"longitude":13.4},"name":"city"}`, `grant_type=password&username=dana&password=x`, `{"name":"shop"}`,
	`{"timestamp":1500000000000,"user":"b11217fc-9d3a-11e7-b24e-699740088e05","category":"x","counters":{"a.b":1,"c":-5,"d":0}}`,
}

var spices = []string{"\x00", "\"", "\\", "{", "}", "[", "]", ",", ":", "%00", "%2f", "..", "\r\n", "\u2028", "İ", "ſ", "\xff\xfe", "null", "1e999", "-", "\\u0000", "\\ud800", "'", "/*", "<", "&"}
