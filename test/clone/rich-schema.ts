/** A schema with one of everything that a clone has to get right. Made by the source's superuser. */

/** What any role may create on its own database. */
export const richSchema = `
create schema app;
create schema "Od d ""q"" name";
create extension if not exists pgcrypto;
create extension if not exists btree_gist with schema public;

create type app.mood as enum ('sad', 'ok', 'happy');
create type app.address as (street text, zip varchar(10));
create type app.span as range (subtype = float8);
create domain app.positive as integer check (value > 0);
create domain app.old_positive as integer;
alter domain app.old_positive add constraint op check (value > 0) not valid;
create collation app.german (provider = icu, locale = 'de');
create function app.twice(i integer) returns integer language sql immutable as 'select i * 2';
create function app.stamp() returns trigger language plpgsql as
  $$ begin new.note := coalesce(new.note, '') || ' fired'; return new; end $$;
create function app.quiet() returns trigger language plpgsql as 'begin return new; end';

create table app.customer (
  id bigint generated always as identity primary key,
  name text not null collate app.german,
  feeling app.mood default 'ok',
  home app.address,
  score app.positive,
  tags text[],
  price numeric(12, 4),
  amount money,
  ratio float8,
  at timestamptz,
  during interval,
  doc jsonb,
  xmldoc xml,
  raw bytea,
  net inet,
  bits bit varying(9),
  spans app.span,
  note text
);
comment on table app.customer is 'who buys; a ; and a '' in it';
comment on column app.customer.name is 'in full';
create index customer_name_idx on app.customer (lower(name)) where feeling <> 'sad';
create unique index customer_expression_idx on app.customer (app.twice(id::integer), name desc nulls last) include (score);
alter index app.customer_expression_idx alter column 1 set statistics 321;
comment on index app.customer_name_idx is 'lower';
comment on constraint customer_pkey on app.customer is 'the key';
`;

export const richTables = `
create table app.product (
  code text, version integer default 1, label text, net numeric, gross numeric generated always as (net * 1.19) stored,
  constraint product_key primary key (code, version) with (fillfactor = 73) deferrable initially deferred,
  constraint product_label unique nulls not distinct (label) include (net) with (fillfactor = 61)
);
create index product_net_idx on app.product (net);
alter table app.product cluster on product_net_idx;

create table app.visit (
  room integer, during tstzrange, who text,
  constraint visit_no_overlap exclude using gist (room with =, during with &&) deferrable
);

create table app.identified (a integer not null, b integer);
create unique index identified_a on app.identified (a);
alter table app.identified replica identity using index identified_a;
create table app.all_columns (a integer, b text);
alter table app.all_columns replica identity full;

create table app.tree (id integer primary key, parent integer references app.tree deferrable initially deferred);
create table app.egg (id integer primary key, hen integer);
create table app.hen (id integer primary key, egg integer references app.egg);
alter table app.egg add constraint egg_hen foreign key (hen) references app.hen on delete cascade;
create table app.old_rule (id integer, c integer);
insert into app.old_rule values (1, 99), (2, -5);
alter table app.old_rule add constraint no_such foreign key (c) references app.egg not valid;
alter table app.old_rule add constraint positive check (c > 0) not valid;

create table app.nothing ();
create unlogged table app.scratch (id serial primary key, t text);
create table "Od d ""q"" name"."Ta
ble" ("Co""l
umn" integer, "select" text, constraint "Ke
y" primary key ("Co""l
umn"));

create table app.measure (at date not null, sensor integer not null, value float8, gone text, extra text default 'x',
  primary key (at, sensor)) partition by range (at);
create table app.measure_2020 (extra text default 'x', dropped text, sensor integer not null, at date not null, value float8, gone text);
alter table app.measure_2020 drop column dropped;
alter table app.measure attach partition app.measure_2020 for values from ('2020-01-01') to ('2021-01-01');
create table app.measure_2021 partition of app.measure for values from ('2021-01-01') to ('2022-01-01') partition by list (sensor);
create table app.measure_2021_1 partition of app.measure_2021 for values in (1);
create table app.measure_rest partition of app.measure default;
alter table app.measure drop column gone;
create index measure_value_idx on app.measure (value);
create index measure_2020_own_idx on app.measure_2020 (extra);
create table app.reading (id integer primary key, at date, sensor integer,
  foreign key (at, sensor) references app.measure);
create table app.part_ref (id integer, customer bigint references app.customer) partition by hash (id);
create table app.part_ref_0 partition of app.part_ref for values with (modulus 2, remainder 0);
create table app.part_ref_1 partition of app.part_ref for values with (modulus 2, remainder 1);

create table app.base (id integer primary key, t text);
create table app.derived (more text) inherits (app.base);

create view app.plain as select id, name from app.customer;
create view app.grouped as select c.*, count(*) as n from app.customer c group by c.id;
create view app.on_grouped as select id, n from app.grouped;
create materialized view app.first as select sensor, sum(value) as total from app.measure group by sensor;
create unique index first_sensor on app.first (sensor);
create materialized view app.a_second as select count(*) as n, sum(total) as total from app.first;
create materialized view app.unfilled as select 1 as one with no data;
create function app.by_key(i bigint) returns text language sql stable
  begin atomic; select max(name) from app.customer c where c.id = i group by c.id; end;

create rule noted as on insert to app.all_columns do also insert into app.base values (new.a * 1000, 'by rule');
create trigger stamp before insert on app.customer for each row execute function app.stamp();
create trigger stamp_off before update on app.customer for each row execute function app.stamp();
alter table app.customer disable trigger stamp_off;
create trigger stamp_always before insert on app.base for each row execute function app.quiet();
alter table app.base enable always trigger stamp_always;
create trigger stamp_replica before update on app.base for each row execute function app.quiet();
alter table app.base enable replica trigger stamp_replica;
create trigger stamp_parts after insert on app.measure for each row execute function app.quiet();
alter table app.measure_2020 disable trigger stamp_parts;

alter table app.egg enable row level security;
alter table app.egg force row level security;
create policy egg_own on app.egg for select using (id < 1000);
create statistics app.customer_stats (dependencies, ndistinct) on name, feeling from app.customer;
comment on statistics app.customer_stats is 'wide';

create sequence app.alone increment by -3 minvalue -1000 maxvalue 50 start with 7 cycle cache 5;
create sequence app.never_called start with 42;
create sequence app.small as smallint;
create sequence app.set_not_called;
create sequence app.owned owned by app.hen.id;
alter table app.hen alter column id set default nextval('app.owned');
create publication users_own for table app.customer, app.base;
`;

export const richRows = `
insert into app.customer (name, feeling, home, score, tags, price, amount, ratio, at, during, doc, xmldoc, raw, net, bits, spans)
select 'name ' || i || e' \\\\ \\t\\n "x"', (array['sad','ok','happy'])[1 + i % 3]::app.mood, row('street, ' || i, i::text)::app.address,
  i, array['a,b', null, 'c"' || i], i / 7.0, (i * 3.5)::numeric::money, sqrt(i), '2020-02-29 12:00+02'::timestamptz + i * interval '1 min',
  make_interval(months => i, days => -i, secs => (i / 3.0)::float8), jsonb_build_object('k', i, 'n', null), ('<a>' || i || '</a>')::xml,
  decode(md5(i::text), 'hex'), ('10.0.0.' || i % 256)::inet, (i % 64)::bit(6)::bit varying(9), app.span(i, i + 0.1)
from generate_series(1, 3000) i;
insert into app.customer (name, ratio) values ('nan', 'nan'), ('', '-infinity');
insert into app.product (code, version, label, net) select 'c' || i % 50, i, 'l' || i, i * 1.1 from generate_series(1, 400) i;
insert into app.product (code, version, label) values ('null', 1, null);
insert into app.visit select i, tstzrange(now(), now() + interval '1 h'), 'w' from generate_series(1, 50) i;
insert into app.identified select i, -i from generate_series(1, 100) i;
insert into app.all_columns select i, null from generate_series(1, 20) i;
insert into app.tree select i, nullif(i / 2, 0) from generate_series(1, 500) i;
alter table app.egg disable row level security;
insert into app.egg select i from generate_series(1, 100) i;
insert into app.hen select i, i from generate_series(1, 100) i;
update app.egg set hen = id;
alter table app.egg enable row level security;
insert into app.nothing default values;
insert into app.nothing default values;
insert into app.nothing default values;
insert into app.scratch (t) select repeat('t', i) from generate_series(1, 30) i;
insert into "Od d ""q"" name"."Ta
ble" select i, e'\\\\N' from generate_series(1, 5) i;
insert into app.measure select '2020-03-01'::date + i * 3, i % 2, i from generate_series(1, 150) i
  where '2020-03-01'::date + i * 3 not between '2021-01-01' and '2021-12-31' or i % 2 = 1;
insert into app.reading select row_number() over (), at, sensor from app.measure;
insert into app.part_ref select i, i from generate_series(1, 40) i;
insert into app.derived select i, 'd', 'm' from generate_series(100, 120) i;
create table app.large as select i as id, md5(i::text) || repeat(md5((-i)::text), 3) as filler, 'bücher' as text from generate_series(1, 20000) i;
alter table app.large add primary key (id);
create index large_filler on app.large (filler);
refresh materialized view app.first;
refresh materialized view app.a_second;
select nextval('app.alone'), nextval('app.alone'), nextval('app.small'), setval('app.set_not_called', 77, false);
`;

/** What only a superuser may create: an ordinary target role is refused some of it. */
export const richPrivileges = `
revoke all on app.customer from public;
grant select, update (name) on app.customer to pg_monitor with grant option;
grant usage on schema app to pg_monitor;
grant execute on function app.twice(integer) to pg_monitor;
alter default privileges in schema app grant select on tables to pg_monitor;
create function app.watch() returns event_trigger language plpgsql as 'begin end';
create event trigger watch on ddl_command_end execute function app.watch();
comment on event trigger watch is 'looks';
create publication everything for all tables;
`;
