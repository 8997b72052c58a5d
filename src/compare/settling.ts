/**
 * Whether a row that differs in a moment differs truly, or has only changed in between (see moments.ts). Pure.
 *
 * Of a key, two moments in a row, n and n+1, with `low` known at n+1:
 *
 * 1. The sides agree at n+1: no difference.
 * 2. The source's row was the same at n and n+1, not written in between (its version tells). The target's reading of n
 *    lies between the two: at `applied` of n it held all that S(n) saw, and nothing that S(n+1) did not see. So it
 *    must have held this row. If it did not, the row is missing or different.
 * 3. The target's row was the same at n and n+1, not written in between. The source's reading S(n+1) lies between the
 *    two: it saw all that the target held at n, and nothing that the target did not hold at n+1. So the source must
 *    have held this row. If it did not, the row is extra or different.
 * 4. Otherwise the row was written in between, or nobody can tell because the table is being written: look again.
 *
 * Versions are compared, not values: a row that was changed and changed back in between is not taken for one that
 * stayed. Nothing that is said here rests on times.
 */
import { noRows, surplus, type SideRows } from './rows.js';
import type { Lsn } from '../model/lsn.js';

export type Observed = { readonly source: SideRows; readonly target: SideRows; readonly low: Lsn | null };

/** What two moments say of a key. */
export type Settlement = 'equal' | 'differs' | 'unsettled';

/** Decides by the cases above. `before` is null at the first look. */
export function settle(key: string, before: Observed | null, now: Observed): Settlement {
  const [source, target] = [now.source.get(key) ?? noRows, now.target.get(key) ?? noRows];
  if (surplus(source, target) === 0 && surplus(target, source) === 0) return 'equal'; // 1
  if (before === null || now.low === null) return 'unsettled'; // 4
  const [sourceBefore, targetBefore] = [before.source.get(key) ?? noRows, before.target.get(key) ?? noRows];
  const sourceStayed = source.version !== '' && source.version === sourceBefore.version;
  if (sourceStayed && surplus(source, targetBefore) > 0) return 'differs'; // 2
  const targetStayed = target.version !== '' && target.version === targetBefore.version;
  if (targetStayed && surplus(target, source) > 0) return 'differs'; // 3
  return 'unsettled'; // 4
}
