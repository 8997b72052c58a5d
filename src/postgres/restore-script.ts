/** Scripts that pg_restore writes in place of restoring, made fit for a session of ours. Pure. */

/** Since 17 pg_restore begins with a setting that older servers do not know. */
export const newerSetting = /^SET transaction_timeout = 0;?$/;

/** What pg_restore's scripts begin with, before the first of the dump's own statements. */
const scriptHead = /^(?:|--.*|\\restrict .*|SET .*|SELECT pg_catalog\.set_config\(.*)$/;

/** What a script must say of itself to be read by a session of ours as it is by one of its own. */
const wantedSettings = [`SET client_encoding = 'UTF8';`, 'SET standard_conforming_strings = on;'];

/**
 * A script of pg_restore's without what is for psql: a first and a last command around it, with a key of its own (from
 * 13.22, 14.19, … on); and without a setting that older servers do not know and our sessions have anyway. Null when it
 * is written in another encoding than our sessions', or of a source where backslashes escape: several statements that
 * are sent as one are all read by the rules that hold before the first.
 */
export function readRestoreScript(script: string): string | null {
  const lines = script.split('\n');
  // Anywhere else it is a line of somebody's function.
  const first = lines.find((line) => line !== '' && !line.startsWith('--')) ?? '';
  const key = /^\\restrict (\w+)$/.exec(first)?.[1];
  const end = lines.findIndex((line) => !scriptHead.test(line));
  const head = end === -1 ? lines : lines.slice(0, end);
  if (!wantedSettings.every((one) => head.includes(one))) return null;
  return lines
    .filter(
      (line, at) =>
        line !== `\\restrict ${key}` &&
        line !== `\\unrestrict ${key}` &&
        !(at < head.length && newerSetting.test(line)),
    )
    .join('\n');
}

/** What stands above each entry's statements. A name may hold anything but the end of a line. */
const entryHead = /^--\n-- Name: .*; Type: (.*); Schema: .*; Owner: .*$/gm;

/**
 * The pieces of a script, one for each of the entries that it was made of, whose kinds these are: put together they are
 * the script. Settings that hold from an entry on stand at the end of the piece before it. Null where the heads tell
 * other entries: a text of the dump looks like one, or an entry has no statements.
 */
export function splitRestoreScript(script: string, kinds: readonly string[]): string[] | null {
  const heads = [...script.matchAll(entryHead)];
  const areTheirs = heads.every((head, at) => head[1] === kinds[at]);
  if (heads.length !== kinds.length || !areTheirs) return null;
  return heads.map(({ index }, at) => script.slice(at === 0 ? 0 : index, heads[at + 1]?.index));
}
