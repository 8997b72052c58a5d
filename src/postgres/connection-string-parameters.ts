/**
 * Every connection parameter that libpq 18 knows, and what becomes of it here. Whatever walferry cannot honour on its
 * own connections exactly as pg_dump and pg_restore would on theirs is refused by name, never ignored.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
 */

/** Keyword → the environment variable that libpq reads for it, null where it has none. */
export const parameterVariables: Readonly<Record<string, string | null>> = {
  host: 'PGHOST',
  hostaddr: 'PGHOSTADDR',
  port: 'PGPORT',
  dbname: 'PGDATABASE',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  passfile: 'PGPASSFILE',
  service: 'PGSERVICE',
  require_auth: 'PGREQUIREAUTH',
  channel_binding: 'PGCHANNELBINDING',
  connect_timeout: 'PGCONNECT_TIMEOUT',
  options: 'PGOPTIONS',
  application_name: 'PGAPPNAME',
  fallback_application_name: null,
  client_encoding: 'PGCLIENTENCODING',
  keepalives: null,
  keepalives_idle: null,
  keepalives_interval: null,
  keepalives_count: null,
  tcp_user_timeout: null,
  replication: null,
  gssencmode: 'PGGSSENCMODE',
  krbsrvname: 'PGKRBSRVNAME',
  gsslib: 'PGGSSLIB',
  gssdelegation: 'PGGSSDELEGATION',
  sslmode: 'PGSSLMODE',
  requiressl: 'PGREQUIRESSL',
  sslnegotiation: 'PGSSLNEGOTIATION',
  sslcompression: 'PGSSLCOMPRESSION',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  sslkeylogfile: null,
  sslpassword: null,
  sslcertmode: 'PGSSLCERTMODE',
  sslrootcert: 'PGSSLROOTCERT',
  sslcrl: 'PGSSLCRL',
  sslcrldir: 'PGSSLCRLDIR',
  sslsni: 'PGSSLSNI',
  requirepeer: 'PGREQUIREPEER',
  ssl_min_protocol_version: 'PGSSLMINPROTOCOLVERSION',
  ssl_max_protocol_version: 'PGSSLMAXPROTOCOLVERSION',
  min_protocol_version: 'PGMINPROTOCOLVERSION',
  max_protocol_version: 'PGMAXPROTOCOLVERSION',
  target_session_attrs: 'PGTARGETSESSIONATTRS',
  load_balance_hosts: 'PGLOADBALANCEHOSTS',
  scram_client_key: null,
  scram_server_key: null,
  oauth_issuer: null,
  oauth_client_id: null,
  oauth_client_secret: null,
  oauth_scope: null,
  servicefile: null,
};

/** Variables that a child program must not inherit: all of the above, and libpq's defaults for a session. */
export const libpqVariables: readonly string[] = [
  ...Object.values(parameterVariables).filter((name) => name !== null),
  'PGSERVICEFILE',
  'PGSYSCONFDIR',
  'PGDATESTYLE',
  'PGTZ',
  'PGGEQO',
];

export function isKnownParameter(keyword: string): boolean {
  return Object.hasOwn(parameterVariables, keyword);
}

/** What a parameter may be. Null: any text. */
const choices: Readonly<Record<string, readonly string[]>> = {
  sslmode: ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'],
  channel_binding: ['disable', 'prefer', 'require'],
  sslnegotiation: ['postgres', 'direct'],
  sslcertmode: ['disable', 'allow', 'require'],
  gssencmode: ['disable', 'prefer', 'require'],
  ssl_min_protocol_version: ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'],
  ssl_max_protocol_version: ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'],
  target_session_attrs: ['any', 'read-write', 'read-only', 'primary', 'standby', 'prefer-standby'],
  load_balance_hosts: ['disable', 'random'],
  sslsni: ['0', '1'],
  keepalives: ['0', '1'],
};

const integers: readonly string[] = [
  'connect_timeout',
  'keepalives_idle',
  'keepalives_interval',
  'keepalives_count',
  'tcp_user_timeout',
];

const always = () => true;

/**
 * What is refused, when, and why. What is neither refused nor used is without effect for a reason: our sessions set
 * their own name and encoding; Kerberos is not used; the protocol is 3.0; there is one host; TLS compression is gone
 * from TLS libraries.
 */
const refusals: Readonly<Record<string, readonly [when: (value: string) => boolean, why: string]>> = {
  replication: [always, 'walferry decides itself which connections replicate'],
  sslpassword: [
    always,
    'a passphrase cannot be handed to pg_dump and pg_restore: use a client key without one, in a file of mode 0600',
  ],
  sslkeylogfile: [always, 'walferry does not write TLS keys down'],
  sslcrldir: [always, 'walferry reads one file of revoked certificates (sslcrl)'],
  sslsni: [(value) => value === '0', 'walferry always names the server in the TLS handshake'],
  sslcertmode: [
    (value) => value === 'require',
    'walferry cannot tell whether the server asked for the certificate',
  ],
  requirepeer: [always, 'walferry cannot tell which user runs the server'],
  gssencmode: [(value) => value === 'require', 'walferry does not speak GSSAPI'],
  requiressl: [(value) => value !== '0', 'it is long obsolete: write sslmode=require'],
  scram_client_key: [always, 'walferry logs in with a password'],
  scram_server_key: [always, 'walferry logs in with a password'],
  oauth_issuer: [always, 'walferry does not speak OAuth'],
  oauth_client_id: [always, 'walferry does not speak OAuth'],
  oauth_client_secret: [always, 'walferry does not speak OAuth'],
  oauth_scope: [always, 'walferry does not speak OAuth'],
};

/** What is wrong with one known parameter, as half a sentence; null when nothing is. Never quotes a secret. */
export function parameterProblem(keyword: string, value: string): string | null {
  if (value === '') return null;
  const allowed = choices[keyword];
  if (allowed !== undefined && !allowed.includes(value)) {
    return `"${keyword}" must be one of ${allowed.join(', ')}`;
  }
  if (integers.includes(keyword) && !/^\s*[+-]?\d{1,9}\s*$/.test(value)) {
    return `"${keyword}" must be a whole number`;
  }
  const refusal = refusals[keyword];
  if (refusal?.[0](value) === true) return `"${keyword}" is not supported: ${refusal[1]}`;
  return null;
}
