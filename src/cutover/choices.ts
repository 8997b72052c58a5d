/** What a cutover is told. */
import type { CutoverRecord } from '../catalog/cutover.js';

/** How writes on the source are stopped. */
export const freezeKinds = ['read-only', 'revoke', 'none'] as const;
export type FreezeKind = (typeof freezeKinds)[number];

/** How much is compared before the application may write to the target. */
export const verifyModes = ['full', 'touched', 'counts', 'none'] as const;
export type VerifyMode = (typeof verifyModes)[number];

export type CutoverChoices = {
  readonly freeze: FreezeKind;
  readonly verify: VerifyMode;
  /** How long the source may be frozen before everything is undone. */
  readonly maxPauseMs: number;
  /** How far the stream may be behind at the start, in bytes of WAL. */
  readonly maxLagBytes: number;
  /** How many of its steps each sequence is set ahead of the source. */
  readonly sequenceHeadroom: number;
  /** Whether a target that nobody completes may be opened without what it lacks. */
  readonly acceptMissing: boolean;
  /** Whether tables whose changes the stream does not carry are copied again in the pause (copy-again.ts). */
  readonly copyAgain: boolean;
};

/** Choices as they were given; null: not given. */
export type GivenChoices = { readonly [Name in keyof CutoverChoices]: CutoverChoices[Name] | null };

export const defaultChoices: CutoverChoices = {
  freeze: 'read-only',
  verify: 'full',
  maxPauseMs: 60_000,
  maxLagBytes: 16 * 1024 * 1024,
  sequenceHeadroom: 0,
  acceptMissing: false,
  copyAgain: false,
};

/** Commands of the operator's that are run at the seams; null: none. They are given anew with --resume. */
export type CutoverHooks = {
  /** Before writes are stopped, for example to stop the application: a failure ends the cutover. */
  readonly beforeFreeze: string | null;
  /** Once the application may write to the target, for example to point it there. */
  readonly after: string | null;
  /** After an undo, for example to start the application on the source again. */
  readonly onUndo: string | null;
  readonly timeoutMs: number;
};

/** What was given, else what the cutover that goes on was told, else the defaults. */
export function resolveChoices(given: GivenChoices, recorded: CutoverRecord | null): CutoverChoices {
  const settings = recorded?.settings ?? {};
  const word = <T extends string>(name: string, words: readonly T[]): T | null =>
    words.find((one) => one === settings[name]) ?? null;
  const number = (name: string): number | null => {
    const value = settings[name];
    return typeof value === 'number' ? value : null;
  };
  return {
    freeze: given.freeze ?? word('freeze', freezeKinds) ?? defaultChoices.freeze,
    verify: given.verify ?? word('verify', verifyModes) ?? defaultChoices.verify,
    maxPauseMs: given.maxPauseMs ?? number('maxPauseMs') ?? defaultChoices.maxPauseMs,
    maxLagBytes: given.maxLagBytes ?? number('maxLagBytes') ?? defaultChoices.maxLagBytes,
    sequenceHeadroom: given.sequenceHeadroom ?? number('sequenceHeadroom') ?? defaultChoices.sequenceHeadroom,
    acceptMissing: given.acceptMissing ?? settings['acceptMissing'] === true,
    copyAgain: given.copyAgain ?? settings['copyAgain'] === true,
  };
}
