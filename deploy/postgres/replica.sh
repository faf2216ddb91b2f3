#!/bin/sh
# A read replica of the primary at the host $PRIMARY (default: postgres-primary): copied at every
# start, then kept up by streaming. It keeps nothing of its own, so it can be added and taken away at
# will. For any image that has PostgreSQL's programs on its PATH, as the user postgres, with the secrets
# postgres_replication_password, postgres_certificate, postgres_key and vimd_ca in /run/secrets.
set -eu
umask 077
secrets=${SECRETS:-/run/secrets}
primary=${PRIMARY:-postgres-primary}
PGDATA=${PGDATA:-/var/lib/postgresql/data}
export PGDATA

# libpq takes a password from a file only; a colon or a backslash in it is escaped there.
export PGPASSFILE=/tmp/replication.pgpass
printf '*:*:*:replicator:%s\n' "$(sed 's/[\\:]/\\&/g' "$secrets/postgres_replication_password")" >"$PGPASSFILE"

until pg_isready --host="$primary" --quiet; do
    sleep 0.5
done
find "$PGDATA" -mindepth 1 -maxdepth 1 -exec rm -rf {} +
# --write-recovery-conf would copy the password into the data; the file named here is enough.
export PGSSLMODE=verify-full PGSSLROOTCERT="$secrets/vimd_ca"
pg_basebackup --host="$primary" --username=replicator --no-password --pgdata="$PGDATA" \
    --wal-method=stream --checkpoint=fast
: >"$PGDATA/standby.signal"

# hot_standby needs the primary's limits or larger ones.
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp -c ssl=on \
    -c ssl_cert_file="$secrets/postgres_certificate" -c ssl_key_file="$secrets/postgres_key" -c max_wal_senders=32 \
    -c max_connections="${MAX_CONNECTIONS:-200}" -c hot_standby=on \
    -c primary_conninfo="host=$primary user=replicator passfile=$PGPASSFILE application_name=${HOSTNAME:-replica}" \
    -c wal_receiver_status_interval=1s "$@"
