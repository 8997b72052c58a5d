/**
 * The stream of a work directory: its slot, where it began, and which publications are ours to drop.
 */
import { formatLsn, readLsn, zeroLsn, type Lsn } from '../model/lsn.js';
import type { PluginName } from '../model/plugin.js';
import type { PublicationState } from '../model/publication-state.js';
import type { PublishedPart } from '../model/published-part.js';
import type { SourceTable } from '../model/source-table.js';
import type { StreamKey } from '../model/stream-key.js';
import type { Catalog } from './database.js';

export type StreamRecord = {
  readonly slot: string;
  readonly plugin: PluginName;
  /** Publications the slot is read through, and those of them that walferry made. */
  readonly publications: readonly string[];
  readonly ownPublications: readonly string[];
  readonly key: StreamKey;
  readonly timeline: number;
  readonly walSegmentBytes: bigint;
  /** The slot's consistent point: the first position the stream can carry. */
  readonly startLsn: Lsn;
  /** The snapshot exported with the slot; valid only while the process that made it holds it. */
  readonly snapshot: string | null;
  /** The followed tables as they were when the slot was made; null where the publications say which they are. */
  readonly tables: readonly SourceTable[] | null;
  /** Tables that a publication made by somebody else does not carry as a whole under their own names; mostly none. */
  readonly parts: readonly PublishedPart[];
  /** Labels of the copied tables that the publications carried when the stream began. */
  readonly carried: readonly string[];
  /** Our own publications as they were made; null where there are none, or an earlier walferry made them. */
  readonly made: PublicationState | null;
};

type StreamRow = {
  slot_name: string;
  plugin: string;
  publications: string;
  own_publications: string;
  origin: string;
  system_identifier: string;
  timeline: number;
  wal_segment_bytes: string;
  database: string;
  start_lsn: string;
  snapshot: string | null;
  tables: string | null;
};

/** The recorded stream; null before a slot was made. */
export function loadStream(catalog: Catalog): StreamRecord | null {
  const row = catalog.database.prepare<[], StreamRow>('select * from stream where id = 1').get();
  if (row === undefined) return null;
  return {
    slot: row.slot_name,
    plugin: row.plugin as PluginName,
    publications: JSON.parse(row.publications) as string[],
    ownPublications: JSON.parse(row.own_publications) as string[],
    key: { stream: row.origin, systemIdentifier: row.system_identifier, database: row.database },
    timeline: row.timeline,
    walSegmentBytes: BigInt(row.wal_segment_bytes),
    startLsn: readLsn(row.start_lsn),
    snapshot: row.snapshot,
    tables: row.tables === null ? null : (JSON.parse(row.tables) as SourceTable[]),
    ...loadPublished(catalog),
    made: loadMade(catalog),
  };
}

function loadMade(catalog: Catalog): PublicationState | null {
  const row = catalog.database
    .prepare<[], { state: string }>('select state from made_publication where id = 1')
    .get();
  return row === undefined ? null : (JSON.parse(row.state) as PublicationState);
}

function loadPublished(catalog: Catalog): Pick<StreamRecord, 'parts' | 'carried'> {
  const row = catalog.database
    .prepare<[], { parts: string; carried: string }>('select parts, carried from published where id = 1')
    .get();
  if (row === undefined) return { parts: [], carried: [] };
  return {
    parts: JSON.parse(row.parts) as PublishedPart[],
    carried: JSON.parse(row.carried) as string[],
  };
}

/** Remembers the stream; to be called in a transaction. */
export function saveStream(catalog: Catalog, stream: StreamRecord): void {
  catalog.database
    .prepare(
      `insert or replace into stream (id, slot_name, plugin, publications, own_publications, origin,
         system_identifier, timeline, wal_segment_bytes, database, start_lsn, snapshot, tables)
       values (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    )
    .run(
      stream.slot,
      stream.plugin,
      JSON.stringify(stream.publications),
      JSON.stringify(stream.ownPublications),
      stream.key.stream,
      stream.key.systemIdentifier,
      stream.timeline,
      String(stream.walSegmentBytes),
      stream.key.database,
      formatLsn(stream.startLsn),
      stream.snapshot,
      stream.tables === null ? null : JSON.stringify(stream.tables),
    );
  catalog.database
    .prepare('insert or replace into published (id, parts, carried) values (1, ?, ?)')
    .run(JSON.stringify(stream.parts), JSON.stringify(stream.carried));
  catalog.database.prepare('delete from made_publication').run();
  if (stream.made === null) return;
  catalog.database
    .prepare('insert into made_publication (id, state) values (1, ?)')
    .run(JSON.stringify(stream.made));
}

/** Forgets the stream, after its slot was dropped. */
export function deleteStream(catalog: Catalog): void {
  catalog.database.exec(
    'delete from stream; delete from published; delete from made_publication; delete from carried; delete from sentinel;',
  );
}

/** Remembers up to which end position the stream's publications carried everything. */
export function saveCarried(catalog: Catalog, endpos: Lsn): void {
  catalog.database
    .prepare('insert or replace into carried (id, endpos) values (1, ?)')
    .run(formatLsn(endpos));
}

/** `zeroLsn` before that was looked at. */
export function loadCarried(catalog: Catalog): Lsn {
  const row = catalog.database
    .prepare<[], { endpos: string }>('select endpos from carried where id = 1')
    .get();
  return row === undefined ? zeroLsn : readLsn(row.endpos);
}

/** What a setup is about to make on the source, recorded before: killed, it is known whose it was. */
export type SlotIntent = {
  readonly slot: string;
  /** The name of our own publications; null where somebody else's is read, or none. */
  readonly publication: string | null;
  readonly systemIdentifier: string;
  readonly database: string;
};

type SlotIntentRow = {
  slot_name: string;
  publication: string | null;
  system_identifier: string;
  database: string;
};

export function saveSlotIntent(catalog: Catalog, intent: SlotIntent): void {
  catalog.database
    .prepare(
      `insert or replace into slot_intent (id, slot_name, publication, system_identifier, database)
       values (1, ?, ?, ?, ?)`,
    )
    .run(intent.slot, intent.publication, intent.systemIdentifier, intent.database);
}

/** Null where no setup was begun, or by a walferry that did not record it. */
export function loadSlotIntent(catalog: Catalog): SlotIntent | null {
  const row = catalog.database.prepare<[], SlotIntentRow>('select * from slot_intent where id = 1').get();
  if (row === undefined) return null;
  return {
    slot: row.slot_name,
    publication: row.publication,
    systemIdentifier: row.system_identifier,
    database: row.database,
  };
}

export function deleteSlotIntent(catalog: Catalog): void {
  catalog.database.exec('delete from slot_intent');
}
