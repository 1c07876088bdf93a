-- A transaction in the middle of which the machine is switched off: by then it has changed the database file.
pragma cache_size = 5;
begin;
update t set y = 'changed';
with recursive c(x) as (select 1001 union all select x + 1 from c limit 20000) insert into t select x, 'new' from c;
select 'in the ' || 'middle';
with recursive c(x) as (select 100000 union all select x + 1 from c) insert into t select x, 'new' from c;
commit;
