.mode box
.headers on
select x, y from t order by x limit 2;
.tables
.schema t
.mode csv
select x, 'a "quoted" one' as q from t where x < 3;
.mode list
select count(*), sum(x), min(y), round(sqrt(avg(x)), 3) from t;
pragma journal_mode;
pragma integrity_check;
select x, row_number() over (order by x desc) as n from t where x <= 3;
select json_extract('{"a":[1,2]}', '$.a[1]'), printf('%.3f', 1.0/3), upper('é'), typeof(1e9), date('2026-11-28', '+4 days');
