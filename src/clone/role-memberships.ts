/**
 * Memberships of roles: what pg_dumpall prints of them, and what a target can hold of it. Since version 16 each has
 * options of its own (ADMIN, INHERIT, SET); before, a member may SET ROLE always, and inherits or not by an attribute
 * of its own, in all its memberships alike. Pure.
 */
import { quoteIdentifier } from '../model/sql.js';

export type Membership = {
  readonly role: string;
  readonly member: string;
  readonly sql: string;
  /** As whoever runs it, where the grantor cannot be named. */
  readonly withoutGrantor: string;
  /** As it is written; null where it is not told. */
  readonly grantor: string | null;
  /** WITH …; null where it says nothing. */
  readonly options: {
    readonly admin: boolean;
    readonly inherit: boolean | null;
    readonly set: boolean | null;
  };
};

/** Reads `GRANT role TO member WITH ADMIN OPTION, INHERIT TRUE, SET FALSE GRANTED BY grantor`, without its blanks. */
export function readMembershipOptions(words: readonly string[]): Pick<Membership, 'grantor' | 'options'> {
  const by = words.indexOf('GRANTED');
  const end = by === -1 ? words.length : by;
  const option = (name: string): boolean | null => {
    // Behind the two names, which may be anything.
    const at = words.indexOf(name, 4);
    if (at === -1 || at >= end) return null;
    return words[at + 1] !== 'FALSE';
  };
  return {
    grantor: by === -1 ? null : (words[by + 2] ?? null),
    options: { admin: option('ADMIN') === true, inherit: option('INHERIT'), set: option('SET') },
  };
}

export type MembershipPlan = {
  /** The first that is not refused does it. None: it is not granted. */
  readonly statements: readonly string[];
  /** What of it the target cannot hold. */
  readonly lost: string | null;
};

const optionsFrom = 160_000;

/** How the target can be given a membership: as it is, or as nearly as that is possible without more rights. */
export function planMembership(
  membership: Membership,
  target: { readonly version: number; readonly memberInherits: boolean },
): MembershipPlan {
  const { role, member, sql, withoutGrantor, grantor, options } = membership;
  // 1. As it is.
  if (target.version >= optionsFrom) return { statements: [sql, withoutGrantor], lost: null };
  const none = (option: string): MembershipPlan => ({
    statements: [],
    lost: `it is not made a member of ${role}: a target before version 16 has no membership WITH ${option}, and any other gives more than the source's`,
  });
  // 2. Every member may SET ROLE there.
  if (options.set === false) return none('SET FALSE');
  // 3. It would have the rights at once.
  if (options.inherit === false && target.memberInherits) return none('INHERIT FALSE');
  const plain = `GRANT ${quoteIdentifier(role)} TO ${quoteIdentifier(member)}${options.admin ? ' WITH ADMIN OPTION' : ''}`;
  const statements = grantor === null ? [plain] : [`${plain} GRANTED BY ${grantor}`, plain];
  // 4. It has the rights only when it asks for them.
  const asks = options.inherit === true && !target.memberInherits;
  const lost = `it is a member of ${role} that has to SET ROLE: a target before version 16 has no membership WITH INHERIT TRUE, and the role itself is NOINHERIT`;
  return { statements, lost: asks ? lost : null };
}
