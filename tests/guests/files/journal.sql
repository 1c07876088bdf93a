-- A transaction that is larger than the cache, so that the database file is changed before it ends; and it never ends.
pragma cache_size = 5;
begin;
update t set y = 'changed';
with recursive c(x) as (select 1000 union all select x + 1 from c) insert into t select x, 'new' from c;
commit;
