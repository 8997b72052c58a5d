/**
 * What a run is doing. One union for every command that copies or follows; the run itself enters each phase, tells it
 * to the catalog, and nobody else does. Whether the stream is catching up or level is no phase: it follows from the lag.
 */

/** What a clone is at, in the order in which it happens. */
export type CopyStep =
  | 'catalog'
  | 'dump'
  | 'pre-data'
  | 'copy'
  | 'post-data'
  | 'sequences'
  | 'finalize'
  | 'done';

export type RunPhase =
  /** Entered first by every run: connections, publications, slot, the journal's recovery. */
  | { readonly kind: 'setup' }
  /** Entered by `clone` before its first catalog query, and again with each step of the copy. Changes are received. */
  | { readonly kind: 'copy'; readonly step: CopyStep }
  /** Entered by a stream that receives and does not apply: `stream receive`, or a sentinel whose apply is off. */
  | { readonly kind: 'receive' }
  /** Entered when changes are applied, until the end position. */
  | { readonly kind: 'apply' }
  /** Entered by `clone --follow` once everything up to the end position is applied. */
  | { readonly kind: 'sequences' }
  /** Entered by `clone --follow` after that: foreign keys, triggers and the rest. */
  | { readonly kind: 'finalize' }
  /** Entered last, when the command has done all of its work. */
  | { readonly kind: 'done' }
  /** Entered last, when the run was asked to stop. */
  | { readonly kind: 'stopped' }
  /** Entered last, when the run fails; the message is that of the failure. */
  | { readonly kind: 'failed'; readonly code: string; readonly message: string };

/** Whether the run has ended by itself; a run that was killed never says so. */
export function isEnd(phase: RunPhase): boolean {
  return phase.kind === 'done' || phase.kind === 'stopped' || phase.kind === 'failed';
}
