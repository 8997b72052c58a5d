/**
 * `npm run setup`: makes sure that this machine has what the tests and the demo need besides Node.js. On Debian and
 * Ubuntu as root it installs what is missing; elsewhere it says in one line what to install, and fails.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { findPrograms } from '../clusters/programs.js';

/** Programs of the system that the cluster starter calls. */
const systemPrograms = [
  { program: 'openssl', package: 'openssl' },
  { program: 'ps', package: 'procps' },
];

const apt = existsSync('/usr/bin/apt-get');

/** Something that is needed: what to call it, and whether it is there. */
type Need = { readonly name: string; readonly met: boolean; readonly packages: readonly string[] };

function main(): number {
  // The demo needs no browser.
  const browser = !process.argv.includes('--no-browser');
  let missing = needs(browser).filter(({ met }) => !met);
  if (missing.length > 0 && apt && process.getuid?.() === 0) {
    aptGet(['update']);
    // The lists decide which version is named: ask again.
    missing = needs(browser && isPackaged('chromium')).filter(({ met }) => !met);
    install(missing.flatMap(({ packages }) => packages));
  }
  missing = needs(browser && isPackaged('chromium')).filter(({ met }) => !met);
  const programs = findPrograms();
  if (missing.length > 0 || programs === null) {
    console.error(`missing: ${missing.map(({ name }) => name).join(', ')}. ${advice(missing)}`);
    return 1;
  }
  const wal2json = programs.wal2json ? 'with wal2json' : 'without wal2json';
  console.log(`PostgreSQL ${programs.version} in ${programs.directory}, ${wal2json}`);
  return 0;
}

function needs(browser: boolean): Need[] {
  const programs = findPrograms();
  const version = programs?.version ?? packagedVersion();
  return [
    { name: `PostgreSQL's server programs`, met: programs !== null, packages: [`postgresql-${version}`] },
    {
      name: 'wal2json',
      // Homebrew has no package of it: there the tests that need it fail, and the rest can run.
      met: programs?.wal2json === true || process.platform === 'darwin',
      packages: [`postgresql-${version}-wal2json`],
    },
    {
      name: 'Chromium',
      // Where the system has no such package a browser is the user's own affair: without one the test of the page
      // fails, and the rest can run.
      met: !apt || !browser || isChromiumThere(),
      packages: ['chromium'],
    },
    ...systemPrograms.map((needed) => ({
      name: needed.program,
      met: isOnPath(needed.program),
      packages: [needed.package],
    })),
  ];
}

/** The newest version for which the distribution has wal2json too. */
function packagedVersion(): number {
  if (!apt) return 17;
  const search = ['search', '--names-only', '^postgresql-[0-9]+-wal2json$'];
  const found = spawnSync('apt-cache', search, { encoding: 'utf8' }).stdout;
  return Math.max(15, ...[...found.matchAll(/^postgresql-(\d+)-/gm)].map((match) => Number(match[1])));
}

function advice(missing: readonly Need[]): string {
  const packages = missing.flatMap((need) => need.packages).join(' ');
  if (apt) return `Run: sudo apt-get install ${packages}`;
  if (process.platform === 'darwin') return 'Run: brew install postgresql@17 openssl';
  return 'Install PostgreSQL 14 or later with its server programs and wal2json, or name its pg_config in PG_CONFIG.';
}

function install(packages: readonly string[]): void {
  // Debian's packages make and start a cluster of their own; nobody asked for one here.
  const directory = '/etc/postgresql-common/createcluster.d';
  const noCluster = `${directory}/walferry-setup.conf`;
  mkdirSync(directory, { recursive: true });
  writeFileSync(noCluster, 'create_main_cluster = false\n');
  try {
    aptGet(['install', '--yes', '--no-install-recommends', ...packages]);
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

/** Where the page's test looks for it (test/support/browser.ts). */
function isChromiumThere(): boolean {
  const named = process.env['CHROMIUM'] ?? '';
  return (named !== '' && existsSync(named)) || isOnPath('chromium') || isOnPath('chromium-browser');
}

/** Whether the distribution has a package of this name: Ubuntu's Chromium, for one, is none. */
function isPackaged(name: string): boolean {
  return spawnSync('apt-cache', ['show', name], { stdio: 'ignore' }).status === 0;
}

function isOnPath(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0;
}

process.exitCode = main();
