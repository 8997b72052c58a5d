/**
 * A stream as SQL text, for people: what apply does, with literals, one statement per change. Pure, and without the
 * target's catalog: literals are untyped, so the server reads each as its column's type. What apply adds beyond it (the
 * guard, counted rows, sets) does not change what the statements mean; run by hand, nothing of that protects.
 */
import type { Change, Delete, Update } from '../model/change.js';
import { formatLsn } from '../model/lsn.js';
import type { StreamMessage } from '../model/message.js';
import type { Relation } from '../model/relation.js';
import { unchanged, type Cell } from '../model/row.js';
import { quoteIdentifier, quoteLiteral, quoteQualified } from '../model/sql.js';

/** One message as lines of SQL, each ended; empty for one that apply executes nothing for. */
export function printSql(message: StreamMessage): string {
  switch (message.kind) {
    case 'begin': {
      const commitLsn = message.commitLsn === null ? null : formatLsn(message.commitLsn);
      return `begin; -- ${facts({ xid: String(message.xid), commit_lsn: commitLsn })}\n`;
    }
    case 'change':
      return `${printChange(message.change)}\n`;
    case 'commit': {
      const { xid, commitLsn, endLsn } = message;
      const lsns = { commit_lsn: formatLsn(commitLsn), end_lsn: formatLsn(endLsn) };
      return `commit; -- ${facts({ xid: String(xid), ...lsns })}\n`;
    }
    case 'rollback':
      return `rollback; -- ${facts({ xid: String(message.xid), lsn: formatLsn(message.lsn) })}\n`;
    case 'keepalive':
    case 'endpos':
      return `-- ${facts({ [message.kind]: formatLsn(message.lsn) })}\n`;
    case 'connected':
      // What is open here was given up, and comes again.
      return `rollback; -- ${facts({ connected: formatLsn(message.lsn) })}\n`;
    case 'relation':
    case 'message':
      break;
  }
  return '';
}

/** One line: JSON has no line breaks of its own. */
function facts(fields: Readonly<Record<string, string | null>>): string {
  return JSON.stringify(fields);
}

function printChange(change: Change): string {
  switch (change.kind) {
    case 'insert': {
      const { relation, row } = change;
      if (row.length === 0) return `insert into ${nameOf(relation)} default values;`;
      const names = relation.columns.map(({ name }) => quoteIdentifier(name)).join(', ');
      return `insert into ${nameOf(relation)} (${names}) overriding system value values (${row.map(literal).join(', ')});`;
    }
    case 'update': {
      const set = change.relation.columns.flatMap(({ name }, at) => {
        const cell = change.row[at] ?? null;
        return cell === unchanged ? [] : [`${quoteIdentifier(name)} = ${literal(cell)}`];
      });
      if (set.length === 0) return `-- update of ${nameOf(change.relation)}: nothing to set`;
      return `update ${nameOf(change.relation)} set ${set.join(', ')} where ${printKey(change)};`;
    }
    case 'delete':
      return `delete from ${nameOf(change.relation)} where ${printKey(change)};`;
    case 'truncate':
      break;
  }
  const restart = change.restartIdentity === true ? ' restart identity' : '';
  return `truncate ${change.relations.map((relation) => `only ${nameOf(relation)}`).join(', ')}${restart};`;
}

/** Under FULL without equality operators at hand, all values of the row; of equal rows one is meant. */
function printKey(change: Update | Delete): string {
  const { relation, key } = change;
  if (relation.key.length === 0) {
    if (relation.identity !== 'full') return 'false /* no replica identity */';
    // A table without columns: each row is as good as any other.
    return `ctid = (select ctid from only ${nameOf(relation)} limit 1)`;
  }
  return relation.key
    .map((at, n) => {
      const name = quoteIdentifier(relation.columns[at]?.name ?? '');
      const cell = key === null ? (change.kind === 'update' ? (change.row[at] ?? null) : null) : key[n];
      return cell === null || cell === undefined ? `${name} is null` : `${name} = ${literal(cell)}`;
    })
    .join(' and ');
}

function literal(cell: Cell): string {
  if (cell === null) return 'null';
  // An unchanged value stands only in updates, which leave it out; here it would be a mistake worth seeing.
  return cell === unchanged ? 'default /* not sent */' : quoteLiteral(cell).trimStart();
}

function nameOf({ schema, name }: Relation): string {
  return quoteQualified(schema, name);
}
