import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { run } from './run.js';

/** A server certificate and the small authority that signed it, so that sslmode=verify-full can be tried. */
export type Certificate = {
  readonly authorityFile: string;
  readonly certificateFile: string;
  readonly keyFile: string;
};

const ellipticKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Makes a certificate for localhost and 127.0.0.1 in the directory. */
export async function makeCertificate(directory: string): Promise<Certificate> {
  await mkdir(directory, { recursive: true });
  const file = (name: string) => path.join(directory, name);
  const days = ['-days', '365'];
  await run('openssl', [
    ...['req', '-x509', ...ellipticKey, ...days, '-subj', '/CN=walferry throw-away authority'],
    ...['-keyout', file('authority.key'), '-out', file('authority.crt')],
  ]);
  await run('openssl', [
    ...['req', '-new', ...ellipticKey, '-subj', '/CN=localhost'],
    ...['-keyout', file('server.key'), '-out', file('server.csr')],
  ]);
  await writeFile(file('extensions'), 'subjectAltName = DNS:localhost, IP:127.0.0.1\n');
  await run('openssl', [
    ...['x509', '-req', ...days, '-in', file('server.csr'), '-extfile', file('extensions')],
    ...['-CA', file('authority.crt'), '-CAkey', file('authority.key'), '-CAcreateserial'],
    ...['-out', file('server.crt')],
  ]);
  return {
    authorityFile: file('authority.crt'),
    certificateFile: file('server.crt'),
    keyFile: file('server.key'),
  };
}
