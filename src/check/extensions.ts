/** Extensions: whether the target offers them, in which version, and lets our role make them. */
import {
  expectExtensions,
  fetchExtensionNeeds,
  fetchExtensions,
  type ExtensionFacts,
} from '../clone/extensions.js';
import { attemptStatement } from '../clone/problems.js';
import { listLabels } from '../clone/requirements.js';
import { Failure } from '../failure.js';
import { quoteIdentifier } from '../model/sql.js';
import type { Session } from '../postgres/connect.js';
import { asked, fail, some, warn, type Finding } from './finding.js';
import type { RunWish, SourceView } from './options.js';
import type { ServerFacts } from './server-facts.js';
import { trialSchema } from './target.js';

const extensionClass = 3079;

/** The extensions of the source that a clone would make. */
export async function fetchKeptExtensions({ session, keeps }: SourceView): Promise<ExtensionFacts[]> {
  return (await fetchExtensions(session)).filter(({ oid }) => keeps(extensionClass, oid));
}

const sourceVersionsQuery = `select extname as name, extversion as version from pg_catalog.pg_extension`;

// `installed` is null where it is not; `privileged` where CREATE EXTENSION asks for a superuser.
const offeredQuery = `
  select a.name, a.default_version as version, a.installed_version as installed,
    v.superuser and not v.trusted as privileged, v.schema
  from pg_catalog.pg_available_extensions a
  left join pg_catalog.pg_available_extension_versions v on v.name = a.name and v.version = a.default_version`;

/** Whether the target has the extensions, in which version, and lets our role make them. In the trial's transaction. */
export async function checkExtensions(
  target: Session,
  view: SourceView,
  wish: RunWish,
  { facts, trial }: { readonly facts: ServerFacts; readonly trial: boolean },
): Promise<Finding[]> {
  const extensions = await fetchKeptExtensions(view);
  if (extensions.length === 0) return [];
  const offered = await asked('objects.extensions', 'extensions', async () => {
    await expectExtensions(view.session, target, extensions, wish.restore, view.keeps);
    return `the target has or offers ${some(extensions.map(({ name }) => name))}`;
  });
  if (offered.verdict === 'fail' || wish.restore.skipExtensions === true) return [offered];
  const targets = new Map((await target.query(offeredQuery)).map((row) => [row['name'] ?? '', row]));
  const sources = await view.session.query(sourceVersionsQuery);
  const older = extensions.flatMap(({ name }) => {
    const was = sources.find((row) => row['name'] === name)?.['version'] ?? '';
    const row = targets.get(name);
    const is = row?.['installed'] ?? row?.['version'] ?? null;
    return is !== null && isOlder(is, was) ? [`${name} ${is} (the source has ${was})`] : [];
  });
  const findings = [offered];
  if (older.length > 0) {
    findings.push(
      warn(
        'objects.extension-versions',
        'extension versions',
        `older on the target: ${some(older)}`,
        "Update the target's, or alter extension … update on the source only after the switch.",
      ),
    );
  }
  const refused: { name: string; words: string }[] = [];
  for (const { name } of extensions) {
    const row = targets.get(name);
    if (row === undefined || row['installed'] !== null || row['privileged'] !== 't') continue;
    if (facts.role.superuser || !trial) continue;
    const schema = row['schema'] === null ? ` with schema ${trialSchema}` : '';
    const words = await attemptStatement(
      target,
      `create extension ${quoteIdentifier(name)}${schema} cascade`,
    );
    if (words !== null) refused.push({ name, words });
  }
  return [...findings, ...(await judgeRefused(refused, view))];
}

// pg_class, pg_constraint, pg_attrdef
const ofTables = new Set([1259, 2606, 2604]);

async function judgeRefused(
  refused: readonly { readonly name: string; readonly words: string }[],
  view: SourceView,
): Promise<Finding[]> {
  if (refused.length === 0) return [];
  const needs = await fetchExtensionNeeds(
    view.session,
    refused.map(({ name }) => name),
    view.keeps,
  );
  const sql = refused.map(({ name }) => `create extension ${quoteIdentifier(name)};`).join(' ');
  const remedy = `As an administrator of the target, before the run: ${sql}`;
  // What a table needs ends the run; a function or a view without it is reported at the end.
  const needed = refused.filter(({ name }) =>
    needs.get(name)?.some(({ classOid }) => ofTables.has(classOid)),
  );
  const [first] = needed;
  if (first === undefined) {
    const names = some(refused.map(({ name }) => name));
    return [
      warn(
        'objects.extension-rights',
        'extension rights',
        `our role may not make ${names}; no table needs them`,
        remedy,
      ),
    ];
  }
  const failure = new Failure(
    'target-rights',
    `our role may not make extension ${first.name}, which is needed by ${listLabels((needs.get(first.name) ?? []).map(({ label }) => label))}: ${first.words}`,
    { remedy },
  );
  return [fail('objects.extension-rights', 'extension rights', failure)];
}

/** Whether a version is older, as far as its numbers tell. Pure. */
export function isOlder(version: string, than: string): boolean {
  const numbers = (text: string) => (text.match(/\d+/g) ?? []).map(Number);
  const [one, other] = [numbers(version), numbers(than)];
  for (let at = 0; at < Math.max(one.length, other.length); at += 1) {
    const difference = (one[at] ?? 0) - (other[at] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
