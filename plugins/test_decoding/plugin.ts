/**
 * test_decoding, the example plugin inside every server's contrib package.
 */
import type { Decoder, Plugin, StreamRequest } from '../../src/model/plugin.js';
import { Failure } from '../../src/failure.js';
import { TestDecodingDecoder } from './decoder.js';

export const testDecoding: Plugin = {
  name: 'test_decoding',
  describesTables: false,
  newerOptions: [],
  // Not skip-empty-xacts: before 17 a transaction that only sends a message would come without its BEGIN.
  options: () => [
    ['include-xids', 'true'],
    ['include-timestamp', 'true'],
  ],
  settings: () => [],
  createDecoder: ({ tables }: StreamRequest): Decoder => {
    if (tables === null) throw new Failure('internal', 'test_decoding needs the tables of the source');
    return new TestDecodingDecoder(tables);
  },
};
