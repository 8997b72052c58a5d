/**
 * What an option is: its names, the parsers that know it, its value. The list of all options is in options.ts.
 *
 * pgcopydb has eight option parsers, and one letter means different things in them (`-J` is --table-jobs for clone,
 * --json for compare). A command belongs to one group and accepts every option of it, as the peer's do, even where
 * its help shows fewer.
 */

/**
 * The peer's parsers: K clone, follow, copy; D dump; R restore; L list; N snapshot; C compare; T stream;
 * S stream sentinel. Ours: P ping, O commands that take the global options only.
 */
export type Group = 'K' | 'D' | 'R' | 'L' | 'N' | 'C' | 'T' | 'S' | 'P' | 'O';

/** How a group spells an option: its short letter, or `long` when it has none there. */
export type Spelling = `-${string}` | 'long';

export type ValueKind =
  | { readonly type: 'flag' }
  | { readonly type: 'text'; readonly placeholder: string }
  /** A text that may be left out: the option alone means something too. */
  | { readonly type: 'optional-text'; readonly placeholder: string }
  | { readonly type: 'integer'; readonly min: number; readonly max: number }
  /** Bytes: an integer with an optional unit B, kB, MB, GB, TB, PB, EB. */
  | { readonly type: 'size' }
  | { readonly type: 'lsn' }
  /** One of a few words. */
  | { readonly type: 'word'; readonly words: readonly string[] }
  /** The name of a replication slot: the server allows lower-case letters, digits and underscores only. */
  | { readonly type: 'slot-name' };

export type Option = {
  /** What settings.ts asks for; the long name, unless one name has two meanings (--endpos). */
  readonly id: string;
  /** Without the dashes. The first is shown, the others are accepted. */
  readonly names: readonly string[];
  readonly groups: Readonly<Partial<Record<Group, Spelling>>>;
  /** Accepted by these commands (paths) besides the groups. */
  readonly commands?: readonly string[];
  /** Accepted by every command; its letter gives way where the group uses it otherwise. */
  readonly everywhere?: Spelling;
  readonly value: ValueKind;
  /** As help shows it; the value itself is set in settings.ts. */
  readonly default?: string;
  /** The default when called through a link named pgcopydb, where it is another. */
  readonly peerDefault?: string;
  /** The variable's name without its prefix PGCOPYDB_ or WALFERRY_. */
  readonly variable?: string;
  readonly description: string;
  /** Known from the peer, accepted, and without effect here: why, which is said when it is set. Null: it has one. */
  readonly noEffect: string | null;
};

/** The variables of an option, the stronger first. */
export function variablesOf(option: Option): readonly string[] {
  return option.variable === undefined ? [] : [`WALFERRY_${option.variable}`, `PGCOPYDB_${option.variable}`];
}

/** `--name`, as messages call it. */
export function longName(option: Option): string {
  return `--${option.names[0]}`;
}

/** Whether a value always follows the option. */
export function takesValue(option: Option): boolean {
  return option.value.type !== 'flag' && option.value.type !== 'optional-text';
}
