/**
 * `npm run setup`: makes sure that this machine has what the tests and the demo need besides Node.js. On Debian and
 * Ubuntu as root it installs what is missing; elsewhere it says in one line what to install, and fails.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { type Programs, findPrograms } from '../clusters/programs.js';

/** Programs of the system that the cluster starter calls. */
const systemPrograms = [
  { program: 'openssl', package: 'openssl' },
  { program: 'ps', package: 'procps' },
];

const apt = existsSync('/usr/bin/apt-get');

function main(): number {
  if (missing() === null) return report();
  if (apt && process.getuid?.() === 0) {
    install();
    const still = missing();
    if (still === null) return report();
    console.error(`still missing after the installation: ${still}`);
    return 1;
  }
  console.error(advice(missing() ?? ''));
  return 1;
}

/** What is not there, for people; null when nothing is missing. */
function missing(): string | null {
  const programs = findPrograms();
  const names = [
    ...(programs === null ? [`PostgreSQL's server programs`] : []),
    ...(programs?.wal2json === false && wal2jsonIsPackaged() ? ['wal2json'] : []),
    ...systemPrograms.filter(({ program }) => !isOnPath(program)).map(({ program }) => program),
  ];
  return names.length === 0 ? null : names.join(', ');
}

/** Homebrew has no package of it: there its tests say that they need it. */
function wal2jsonIsPackaged(): boolean {
  return apt;
}

function advice(what: string): string {
  if (apt) return `missing: ${what}. Run: sudo apt-get install ${packages(findPrograms()).join(' ')}`;
  if (process.platform === 'darwin') return `missing: ${what}. Run: brew install postgresql@17 openssl`;
  return `missing: ${what}. Install PostgreSQL 14 or later with its server programs and wal2json, or name its pg_config in PG_CONFIG.`;
}

/** Keeps to the version that is there; else the newest for which the distribution has wal2json too. */
function packages(programs: Programs | null): string[] {
  const found = spawnSync('apt-cache', ['search', '--names-only', '^postgresql-[0-9]+-wal2json$'], {
    encoding: 'utf8',
  }).stdout;
  const versions = [...found.matchAll(/^postgresql-(\d+)-wal2json/gm)].map((match) => Number(match[1]));
  const version = programs?.version ?? Math.max(15, ...versions);
  return [
    `postgresql-${version}`,
    `postgresql-${version}-wal2json`,
    ...systemPrograms.map((needed) => needed.package),
  ];
}

function install(): void {
  // Debian's packages make and start a cluster of their own; nobody asked for one here.
  const directory = '/etc/postgresql-common/createcluster.d';
  const noCluster = `${directory}/walferry-setup.conf`;
  mkdirSync(directory, { recursive: true });
  writeFileSync(noCluster, 'create_main_cluster = false\n');
  try {
    aptGet(['update']);
    aptGet(['install', '--yes', '--no-install-recommends', ...packages(findPrograms())]);
  } finally {
    rmSync(noCluster);
  }
}

function aptGet(args: readonly string[]): void {
  const { status } = spawnSync('apt-get', ['-qq', ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  });
  if (status !== 0) throw new Error(`apt-get ${args[0]} failed (${status})`);
}

function isOnPath(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0;
}

function report(): number {
  const programs = findPrograms();
  const wal2json = programs?.wal2json === true ? 'with wal2json' : 'without wal2json';
  console.log(`PostgreSQL ${programs?.version} in ${programs?.directory}, ${wal2json}`);
  return 0;
}

process.exitCode = main();
