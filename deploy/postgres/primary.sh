#!/bin/sh
# The primary of the database: made at the first start, then run. For any image that has PostgreSQL's
# programs on its PATH (the official one does), as the user postgres, with these secrets:
#
#   /run/secrets/postgres_password               of the superuser postgres
#   /run/secrets/vimd_database_password          of the role and database vimd
#   /run/secrets/postgres_replication_password   of the role replicator
#   /run/secrets/postgres_certificate, postgres_key   for TLS, which every connection has to use
#
# Passwords are read from files by PostgreSQL's own programs: none is in argv or in the environment.
set -eu
umask 077
secrets=${SECRETS:-/run/secrets}
PGDATA=${PGDATA:-/var/lib/postgresql/data}
export PGDATA

if [ ! -e "$PGDATA/ready" ]; then
    # What an interrupted first start left is no database yet.
    find "$PGDATA" -mindepth 1 -maxdepth 1 -exec rm -rf {} +
    initdb --username=postgres --pwfile="$secrets/postgres_password" --encoding=UTF8 --locale=C \
        --auth-local=trust --auth-host=scram-sha-256 --data-checksums >/dev/null
    printf '%s\n' 'hostssl all all all scram-sha-256' 'hostssl replication replicator all scram-sha-256' \
        >>"$PGDATA/pg_hba.conf"
    postgres -c listen_addresses= -c unix_socket_directories=/tmp >/dev/null 2>&1 &
    server=$!
    until pg_isready --host=/tmp --quiet; do
        kill -0 $server
        sleep 0.2
    done
    # shellcheck disable=SC2016 # psql, not the shell, puts the values in.
    psql --host=/tmp --username=postgres --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname=postgres <<SQL
\\set vimd \`cat $secrets/vimd_database_password\`
\\set replicator \`cat $secrets/postgres_replication_password\`
CREATE ROLE vimd LOGIN PASSWORD :'vimd';
CREATE DATABASE vimd OWNER vimd;
CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replicator';
SQL
    kill -INT $server
    wait $server
    # From here on only roles with a password get in, over the socket too.
    sed -i 's/^\(local .*\) trust$/\1 scram-sha-256/' "$PGDATA/pg_hba.conf"
    sync
    : >"$PGDATA/ready"
fi

# A replica that was away for less than wal_keep_size catches up; one that was away longer starts anew.
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp -c ssl=on \
    -c ssl_cert_file="$secrets/postgres_certificate" -c ssl_key_file="$secrets/postgres_key" -c wal_level=replica \
    -c max_wal_senders=32 -c wal_keep_size=256MB -c password_encryption=scram-sha-256 \
    -c max_connections="${MAX_CONNECTIONS:-200}" "$@"
