package ql

import "github.com/trellisdb/trellis/storage/fault"

// examples are those of spec query-language section 13, by number: what each
// prints as, or the code it is refused with.
var examples = []struct {
	text, want string
	code       fault.Code
}{
	{text: `select *`, want: `select *`}, // 1
	{text: ``, want: `select *`},
	{text: `order by created`, want: `select * order by created`},
	{text: `author = 'Dickens'`, want: `select * where author = 'dickens'`},
	{text: `author = 'DICKENS'`, want: `select * where author = 'dickens'`}, // 5
	{text: `AUTHOR = 'dickens'`, want: `select * where author = 'dickens'`},
	{text: `select * where author eq 'gibson'`, want: `select * where author = 'gibson'`},
	{text: `title = 'tale'`, want: `select * where title = 'tale'`},
	{text: `title = 'A Tale*'`, want: `select * where title = 'a tale*'`},
	{text: `title = '*cit*'`, want: `select * where title = '*cit*'`}, // 10
	{text: `title = 'D?ne*'`, want: `select * where title = 'd?ne*'`},
	{text: `title = '*'`, want: `select * where title = '*'`},
	{text: `title contains 'tale'`, want: `select * where title contains 'tale'`},
	{text: `title contains 'ta*'`, want: `select * where title contains 'ta*'`},
	{text: `title contains 'tale dune'`, want: `select * where title contains 'tale dune'`}, // 15
	{text: `title contains 'two ci*'`, want: `select * where title contains 'two ci*'`},
	{text: `not title contains 'cities'`, want: `select * where not title contains 'cities'`},
	{text: `title contains 'handmaid's'`, code: fault.QueryToken},
	{text: `title contains 'handmaid\'s'`, want: `select * where title contains 'handmaid\'s'`},
	{text: `author = 'O\'Brien'`, want: `select * where author = 'o\'brien'`}, // 20
	{text: `author = "Dickens"`, code: fault.QueryToken},
	{text: `year = 1984`, want: `select * where year = 1984`},
	{text: `year = '1984'`, want: `select * where year = '1984'`},
	{text: `year > 1970`, want: `select * where year > 1970`},
	{text: `year >= 1978 and year <= 1985`, want: `select * where year >= 1978 and year <= 1985`}, // 25
	{text: `year gte 1978 and year lte 1985`, want: `select * where year >= 1978 and year <= 1985`},
	{text: `year lt 1859`, want: `select * where year < 1859`},
	{text: `price = 10`, want: `select * where price = 10`},
	{text: `price = 10.0`, want: `select * where price = 10`},
	{text: `price = '10'`, want: `select * where price = '10'`}, // 30
	{text: `price < 0`, want: `select * where price < 0`},
	{text: `price = -1`, want: `select * where price = -1`},
	{text: `price = 12.50`, want: `select * where price = 12.5`},
	{text: `price >= 9 and price < 12.5`, want: `select * where price >= 9 and price < 12.5`},
	{text: `stock = true`, want: `select * where stock = true`}, // 35
	{text: `stock = 'true'`, want: `select * where stock = 'true'`},
	{text: `stock = FALSE`, want: `select * where stock = false`},
	{text: `stock = true or stock = false`, want: `select * where stock = true or stock = false`},
	{text: `not stock = true`, want: `select * where not stock = true`},
	{text: `rating = 5`, want: `select * where rating = 5`}, // 40
	{text: `rating = '5'`, want: `select * where rating = '5'`},
	{text: `pub.city = 'london'`, want: `select * where pub.city = 'london'`},
	{text: `PUB.City = 'San Francisco'`, want: `select * where pub.city = 'san francisco'`},
	{text: `pub.city contains 'san'`, want: `select * where pub.city contains 'san'`},
	{text: `tags = 'classic'`, want: `select * where tags = 'classic'`}, // 45
	{text: `tags = 'london'`, want: `select * where tags = 'london'`},
	{text: `tags contains 'francisco'`, want: `select * where tags contains 'francisco'`},
	{text: `not tags = 'classic'`, want: `select * where not tags = 'classic'`},
	{text: `chapters.name = 'dune'`, want: `select * where chapters.name = 'dune'`},
	{text: `chapters.pages > 180`, want: `select * where chapters.pages > 180`}, // 50
	{text: `chapters.name = 'dune' and chapters.pages = 150`, want: `select * where chapters.name = 'dune' and chapters.pages = 150`},
	{text: `author = 'dickens' or author = 'gibson' and year = 1859`, want: `select * where author = 'dickens' or author = 'gibson' and year = 1859`},
	{text: `(author = 'dickens' or author = 'gibson') and year = 1984`, want: `select * where (author = 'dickens' or author = 'gibson') and year = 1984`},
	{text: `year > 1970 and not (stock = true or price = 9)`, want: `select * where year > 1970 and not (stock = true or price = 9)`},
	{text: `year > 1980 && price < 11`, want: `select * where year > 1980 and price < 11`}, // 55
	{text: `author = 'atwood' || author = 'calvino'`, want: `select * where author = 'atwood' or author = 'calvino'`},
	{text: `author > 'h' and author < 'n'`, want: `select * where author > 'h' and author < 'n'`},
	{text: `name >= 'b2' order by name`, want: `select * where name >= 'b2' order by name`},
	{text: `select * where year > 1900 order by year`, want: `select * where year > 1900 order by year`},
	{text: `year > 1900 order by year desc`, want: `select * where year > 1900 order by year desc`}, // 60
	{text: `order by price, title`, want: `select * order by price, title`},
	{text: `order by price desc`, want: `select * order by price desc`},
	{text: `order by year asc`, want: `select * order by year`},
	{text: `order by rating`, want: `select * order by rating`},
	{text: `order by stock desc`, want: `select * order by stock desc`}, // 65
	{text: `order by pub.city`, want: `select * order by pub.city`},
	{text: `order by title`, want: `select * order by title`},
	{text: `order by modified desc`, want: `select * order by modified desc`},
	{text: `order by tags`, want: `select * order by tags`},
	{text: `order by tags desc`, want: `select * order by tags desc`}, // 70
	{text: `location within 1000 of 37.7749, -122.4194`, want: `select * where location within 1000 of 37.7749, -122.4194`},
	{text: `location within 400 of 37.7749, -122.4194`, want: `select * where location within 400 of 37.7749, -122.4194`},
	{text: `location within 10000000 of 37.7749,-122.4194`, want: `select * where location within 10000000 of 37.7749, -122.4194`},
	{text: `location within 10000000 of 37.7749,-122.4194 and stock = true`, want: `select * where location within 10000000 of 37.7749, -122.4194 and stock = true`},
	{text: `location within 1000 of 37.7749, -122.4194 order by name`, want: `select * where location within 1000 of 37.7749, -122.4194 order by name`}, // 75
	{text: `location within 1000 of 37.7749, -122.4194 order by location desc`, want: `select * where location within 1000 of 37.7749, -122.4194 order by location desc`},
	{text: `not location within 1000 of 37.7749, -122.4194`, want: `select * where not location within 1000 of 37.7749, -122.4194`},
	{text: `uuid = 0a070000-5e11-11e7-8000-0242ac110002`, want: `select * where uuid = '0a070000-5e11-11e7-8000-0242ac110002'`},
	{text: `uuid = '0a070000-5e11-11e7-8000-0242ac110002'`, want: `select * where uuid = '0a070000-5e11-11e7-8000-0242ac110002'`},
	{text: `sequelOf = 0a090000-5e11-11e7-8000-0242ac110002`, want: `select * where sequelof = '0a090000-5e11-11e7-8000-0242ac110002'`}, // 80
	{text: `name = 'b1' or uuid = 0a030000-5e11-11e7-8000-0242ac110002`, want: `select * where name = 'b1' or uuid = '0a030000-5e11-11e7-8000-0242ac110002'`},
	{text: `select * where direct b3, b1, nosuch`, want: `select * where direct b3, b1, nosuch`},
	{text: `select * where direct 0a090000-5e11-11e7-8000-0242ac110002, b2`, want: `select * where direct 0a090000-5e11-11e7-8000-0242ac110002, b2`},
	{text: `type = 'book' and created >= 1500000009000`, want: `select * where type = 'book' and created >= 1500000009000`},
	{text: `nosuch = 1`, want: `select * where nosuch = 1`}, // 85
	{text: `not nosuch = 1`, want: `select * where not nosuch = 1`},
	{text: `isbn = 0679423907`, want: `select * where isbn = 679423907`},
	{text: `isbn = '0679423907'`, want: `select * where isbn = '0679423907'`},
	{text: `isbn = '0679*'`, want: `select * where isbn = '0679*'`},
	{text: `select title, author where year = 1984`, want: `select title, author where year = 1984`}, // 90
	{text: `select {t: title, c: pub.city} where author = 'dickens'`, want: `select {t: title, c: pub.city} where author = 'dickens'`},
	{text: `select * where year = 1984 limit 1`, want: `select * where year = 1984`},
	{text: `limit = 5`, want: `select * where limit = 5`},
	{text: `select count(*)`, code: fault.QueryParse},
	{text: `title != 'Dune'`, code: fault.QueryToken}, // 95
	{text: `title = Dune`, code: fault.QueryParse},
	{text: `title 'Dune'`, code: fault.QueryParse},
	{text: `where`, code: fault.QueryParse},
	{text: `select * where year = 1984 order by`, code: fault.QueryParse},
	{text: `order by year, year desc`, code: fault.QueryParse}, // 100
	{text: `title like 'Dune'`, code: fault.QueryParse},
	{text: `year in (1984)`, code: fault.QueryParse},
	{text: `title = null`, code: fault.QueryParse},
	{text: `select * from books where year = 1984`, code: fault.QueryParse}, // 104
}
