/**
 * Who may import whom: the one table behind test/architecture.test.ts, which checks the sources
 * against it, and checks that .oxlintrc.json says the same.
 */

/** Rooms of src/ from the bottom to the top. A room sees the rooms of lower rows, and of its own row only itself. */
export const layers: readonly (readonly string[])[] = [
  ['model'],
  ['journal', 'catalog', 'filter', 'postgres'],
  ['clone', 'receive', 'apply', 'control'],
  ['follow', 'compare', 'check', 'monitor'],
  ['cutover'],
  ['cli'],
  ['library'],
];

/** Files of src/ that every room may import. */
export const openFiles = ['src/failure.ts', 'src/log.ts', 'src/failpoint.ts'];

/** Packages that one file or one folder alone may import. */
export const packageOwners: Readonly<Record<string, readonly string[]>> = {
  'pg-logical-replication': ['src/postgres/slot-stream.ts'],
  'pg-copy-streams': ['src/postgres/copy.ts'],
  'better-sqlite3': ['src/catalog/'],
  pino: ['src/cli/'],
  commander: ['src/cli/'],
};

/** Rooms that only compute: of Node.js they may use this alone. */
export const pureBuiltins = ['node:buffer'];

/** Where a file stands: `plugins` is a room below all others but the model; index.ts is above all. */
export function roomOf(file: string): string {
  if (file.startsWith('plugins/')) return 'plugins';
  const [, room, below] = file.split('/');
  return below === undefined ? 'src' : (room ?? '');
}

/** The rooms that files of this room must not import. */
export function forbiddenRooms(room: string): string[] {
  const rooms = layers.flat();
  if (room === 'plugins') return rooms.filter((other) => other !== 'model');
  const row = layers.findIndex((layer) => layer.includes(room));
  if (row < 0) throw new Error(`${room} is not a room of test/support/layers.ts`);
  const lower = layers.slice(0, row).flat();
  const forbidden = rooms.filter((other) => other !== room && !lower.includes(other));
  return room === 'cli' || room === 'library' ? forbidden : [...forbidden, 'plugins'];
}

/** Whether this room only computes. */
export function isPure(room: string): boolean {
  return room === 'model' || room === 'plugins';
}

/** The specifiers that a source file imports, exports from or loads later. */
export function readImports(source: string): string[] {
  const code = source.replaceAll(/^\s*(\/\/|\/?\*).*$/gm, '');
  const forms = [
    /^(?:import|export)\b[^;'"]*?\bfrom\s+['"]([^'"]+)['"]/gm,
    /^import\s+['"]([^'"]+)['"]/gm,
    /\bimport\(\s*['"]([^'"]+)['"]/g,
  ];
  return forms.flatMap((form) => [...code.matchAll(form)].map((match) => match[1] ?? ''));
}

/** What is wrong with one import, in words; null when it may be. */
export function judgeImport(file: string, specifier: string): string | null {
  const room = roomOf(file);
  if (!specifier.startsWith('.')) return judgePackage(file, room, specifier);
  const imported = resolve(file, specifier);
  if (openFiles.includes(imported)) return null;
  // Above every room: the library's door, and files that every room may import, which know no room but the model.
  if (room === 'src') {
    if (file === 'src/index.ts') return null;
    return roomOf(imported) === 'model'
      ? null
      : `${file} is open to every room and must not import ${imported}`;
  }
  const other = roomOf(imported);
  if (other === 'src') return `${file} must not import ${imported}, which is for users of the library`;
  return forbiddenRooms(room).includes(other) ? `${room}/ must not import ${other}/: ${imported}` : null;
}

function judgePackage(file: string, room: string, specifier: string): string | null {
  if (specifier.startsWith('node:')) {
    if (isPure(room) && !pureBuiltins.includes(specifier)) return `${room}/ only computes: no ${specifier}`;
    return null;
  }
  const name = specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
  if (isPure(room)) return `${room}/ only computes: no ${name}`;
  const owners = packageOwners[name];
  if (owners === undefined || owners.some((owner) => file.startsWith(owner))) return null;
  return `only ${owners.join(', ')} may import ${name}`;
}

function resolve(file: string, specifier: string): string {
  const url = new URL(specifier, `file:///${file}`);
  return url.pathname.slice(1).replace(/\.js$/, '.ts');
}

type LintPattern = { readonly message: string } & ({ readonly regex: string } | { readonly group: string[] });

/** One override of .oxlintrc.json: the same rules for the linter, so that an editor shows them. */
export type LintOverride = {
  readonly files: string[];
  readonly rules: {
    readonly 'no-restricted-imports': ['error', { patterns: LintPattern[] }];
  };
};

/** The overrides that .oxlintrc.json has to hold. A later one replaces an earlier one, so each is whole. */
export function lintOverrides(): LintOverride[] {
  const rooms = [...layers.flat(), 'plugins'];
  const folder = (room: string) => (room === 'plugins' ? 'plugins/' : `src/${room}/`);
  const whole = rooms.map((room) => lintOverride(`${folder(room)}**`, room, folder(room)));
  // Single files that own a package stand after the folder that they are in.
  const single = Object.values(packageOwners)
    .flat()
    .filter((owner) => owner.endsWith('.ts'));
  return [...whole, ...single.map((file) => lintOverride(file, roomOf(file), file))];
}

function lintOverride(files: string, room: string, owner: string): LintOverride {
  const rooms = forbiddenRooms(room).join('|');
  const packages = Object.keys(packageOwners).filter((name) => packageOwners[name]?.includes(owner) !== true);
  const message = `${room}/ must not import this: see test/support/layers.ts.`;
  const patterns: LintPattern[] = [
    ...(rooms === '' ? [] : [{ regex: `^\\..*/(${rooms})/`, message }]),
    { regex: `^(${packages.join('|')})(/|$)`, message },
    ...(isPure(room)
      ? [{ group: ['node:*', 'pg', ...pureBuiltins.map((builtin) => `!${builtin}`)], message }]
      : []),
  ];
  return { files: [files], rules: { 'no-restricted-imports': ['error', { patterns }] } };
}
