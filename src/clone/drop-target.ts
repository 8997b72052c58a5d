/** --drop-if-exists: what must go before pg_restore's own DROP statements can. */
import type { Session } from '../postgres/connect.js';
import { attemptAlone } from './problems.js';
import type { SchemaFile } from './schema-file.js';

/** The words of pg_identify_object, which begin an identity and are the DROP statement's own. */
const droppedFirst = ['event trigger', 'publication'] as const;

/**
 * Event triggers and publications of the source's names: they belong to no table and would outlive all of them, an
 * event trigger keeps its function from being dropped and fires at what we do. What may not be dropped stays.
 */
export async function dropDatabaseObjects(target: Session, file: SchemaFile): Promise<void> {
  for (const [, identity] of file.identities) {
    const type = droppedFirst.find((word) => identity.startsWith(`${word} `));
    if (type === undefined) continue;
    await attemptAlone(target, `drop ${type} if exists ${identity.slice(type.length + 1)}`);
  }
}
