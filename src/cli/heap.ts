/** How much garbage the program lets lie. */
import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 collect when the heap is half as large again as what was in use. Unless told, it waits for up to four times of
 * that: with 20,000 tables, of which 80 MB are in use, until the process has more than 300 MB. What the collections
 * more cost is nothing beside the servers' work (docs/measurements/clone.md).
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--heap-growing-percent=50');
}
