# PostgreSQL as a source, with the wal2json output plugin.
FROM postgres:17-bookworm
RUN apt-get update \
 && apt-get install -y --no-install-recommends postgresql-17-wal2json \
 && rm -rf /var/lib/apt/lists/*
COPY wal2json.sql /docker-entrypoint-initdb.d/
