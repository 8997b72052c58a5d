-- Since 15.19 and its like a server refuses output plugins that this setting does not list; before them the
-- setting does not exist.
select 'alter system set output_plugin_libraries = pgoutput, test_decoding, wal2json'
from pg_settings where name = 'output_plugin_libraries' \gexec
