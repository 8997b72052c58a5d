/**
 * The source cluster's system identifier without a replication connection: a plain clone does not need REPLICATION.
 */
import { Failure } from '../failure.js';
import type { Session } from './connect.js';

/**
 * Decimal, the same as IDENTIFY_SYSTEM tells. Throws `source-rights` where the server keeps pg_control_system to
 * itself.
 */
export async function fetchSystemIdentifier(session: Session): Promise<string> {
  try {
    const [row] = await session.query('select system_identifier from pg_catalog.pg_control_system()');
    return row?.['system_identifier'] ?? '';
  } catch (error) {
    throw new Failure('source-rights', 'the source does not tell its system identifier', {
      cause: error,
      remedy:
        'grant execute on function pg_control_system() to the role of --source, or use a role with REPLICATION.',
    });
  }
}
