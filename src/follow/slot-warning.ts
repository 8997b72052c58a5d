/** What an operator is told about the slot's headroom. Pure. */
import type { SlotVerdict } from '../model/slot-headroom.js';

const gigabyte = 1024 ** 3;

/** Without a limit, the first time and then at every doubling. */
const firstSaidBytes = 16 * gigabyte;

/** The loud line; null while all is well. */
export function slotWarning(slot: string, verdict: SlotVerdict | null, retainedBytes: number): string | null {
  switch (verdict?.kind) {
    case 'danger':
      return (
        `THE REPLICATION SLOT "${slot}" MAY BE LOST${soon(verdict.secondsLeft)}: it holds back ` +
        `${gigabytes(retainedBytes)} of WAL, near what the source allows. Raise max_slot_wal_keep_size there ` +
        `(alter system set max_slot_wal_keep_size = …; select pg_reload_conf()), end transactions that have been open ` +
        `for long, or make room for the transform files. Until then no more than one table is copied at a time`
      );
    case 'lost':
      return `the replication slot "${slot}" is lost: the source has invalidated it`;
    case 'safe':
    case 'unlimited':
    case undefined:
      break;
  }
  return null;
}

/** A source without a limit keeps everything, until its disk is full: nobody here can see how near that is. */
export function sayRetained(
  slot: string,
  verdict: SlotVerdict | null,
  retainedBytes: number,
  saidBytes: number,
): { readonly message: string; readonly saidBytes: number } | null {
  if (verdict?.kind !== 'unlimited') return null;
  if (retainedBytes < Math.max(firstSaidBytes, saidBytes * 2)) return null;
  return {
    saidBytes: retainedBytes,
    message:
      `the replication slot "${slot}" holds back ${gigabytes(retainedBytes)} of WAL on the source, which has no limit ` +
      `(max_slot_wal_keep_size): watch the disk of the source`,
  };
}

function soon(secondsLeft: number | null): string {
  if (secondsLeft === null) return ' SOON';
  if (secondsLeft < 60) return ' AT ANY MOMENT';
  return ` IN ABOUT ${Math.max(1, Math.round(secondsLeft / 60))} MIN`;
}

function gigabytes(bytes: number): string {
  return bytes < gigabyte ? `${Math.ceil(bytes / 1024 ** 2)} MB` : `${(bytes / gigabyte).toFixed(1)} GB`;
}
