/**
 * TLS with libpq's meaning.
 *
 * | sslmode | first try | then | the server's certificate |
 * |---|---|---|---|
 * | disable | plain | | |
 * | allow | plain | TLS, when the server refuses plain | chain, if there is a root certificate |
 * | prefer | TLS | plain, when the server has no TLS or refuses it | chain, if there is a root certificate |
 * | require | TLS | | chain, if there is a root certificate |
 * | verify-ca | TLS | | chain |
 * | verify-full | TLS | | chain and host name |
 *
 * A Unix socket is always plain. One thing is stricter than libpq: a file that was named and is not there is an error
 * in every mode, where libpq goes on without checking the certificate.
 * https://www.postgresql.org/docs/current/libpq-ssl.html
 */
import { readFileSync, statSync } from 'node:fs';
import { rootCertificates, type ConnectionOptions } from 'node:tls';
import { Failure, systemReason, type Side } from '../failure.js';
import { systemCertificates, type Conninfo, type SslMode, type TlsFile } from './connection-string.js';

const triesByMode: Readonly<Record<SslMode, readonly boolean[]>> = {
  disable: [false],
  allow: [false, true],
  prefer: [true, false],
  require: [true],
  'verify-ca': [true],
  'verify-full': [true],
};

/** Whether a try is made with TLS, in the order of the tries. */
export function tlsTries(conninfo: Pick<Conninfo, 'host' | 'tls'>): readonly boolean[] {
  return conninfo.host.startsWith('/') ? [false] : triesByMode[conninfo.tls.mode];
}

/** Options of the TLS handshake; reads the files. Throws `source-tls` or `target-tls` when one cannot be used. */
export function loadTlsOptions(conninfo: Conninfo, side: Side): ConnectionOptions {
  const { tls } = conninfo;
  const verify = tls.mode === 'verify-ca' || tls.mode === 'verify-full';
  const ca = loadAuthorities(conninfo, side);
  if (ca === null && verify) {
    throw tlsFailure(
      side,
      `sslmode=${tls.mode} needs a root certificate, and there is none: name a file with sslrootcert, put one to ~/.postgresql/root.crt, or use sslrootcert=system`,
    );
  }
  return {
    rejectUnauthorized: ca !== null,
    ...(ca === null ? {} : { ca }),
    // The chain is checked by `rejectUnauthorized`; the host name only where libpq does.
    ...(tls.mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
    ...(tls.certificate === null ? {} : { cert: loadFile(tls.certificate, side, 'sslcert') }),
    ...(tls.certificate === null || tls.key === null ? {} : { key: loadKey(tls.key, side) }),
    ...(tls.revoked === null ? {} : { crl: loadFile(tls.revoked, side, 'sslcrl') }),
    ...(tls.minVersion === null ? {} : { minVersion: tls.minVersion }),
    ...(tls.maxVersion === null ? {} : { maxVersion: tls.maxVersion }),
  };
}

function loadAuthorities(conninfo: Conninfo, side: Side): string[] | null {
  const root = conninfo.tls.rootCertificate;
  if (root === null) return null;
  if (root !== 'system') return [loadFile(root, side, 'sslrootcert')];
  const path = systemCertificates();
  // Without a list of the machine's own, the one that comes with Node: public authorities as well.
  return path === null ? [...rootCertificates] : [loadFile({ path, named: true }, side, 'sslrootcert')];
}

function loadFile(file: TlsFile, side: Side, parameter: string): string {
  try {
    return readFileSync(file.path, 'utf8');
  } catch (error) {
    throw tlsFailure(
      side,
      `the file ${file.path} (${parameter}) cannot be read${systemReason(error)}`,
      error,
    );
  }
}

/** A private key, which nobody else may read: libpq's rule, which lets root's own keys be read by a group. */
function loadKey(file: TlsFile, side: Side): string {
  const text = loadFile(file, side, 'sslkey');
  const { uid, mode } = statSync(file.path);
  if ((mode & (uid === 0 ? 0o037 : 0o077)) !== 0) {
    throw tlsFailure(
      side,
      `the client key ${file.path} (sslkey) can be read or written by others (chmod 0600)`,
    );
  }
  return text;
}

function tlsFailure(side: Side, problem: string, cause?: unknown): Failure {
  return new Failure(`${side}-tls`, `${side}: ${problem}`, { cause });
}
