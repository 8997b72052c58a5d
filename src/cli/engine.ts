/** How JavaScript's engine is to treat a run that is there to have servers work. */
import { setFlagsFromString } from 'node:v8';

/**
 * Has V8 collect when the heap is half as large again as what was in use. Unless told, it waits for up to four times of
 * that: with 20,000 tables, of which 80 MB are in use, until the process has more than 300 MB. What the collections
 * more cost is nothing beside the servers' work.
 *
 * And has it optimize only what runs for long: in a clone of seconds that does not earn back what the compiler takes.
 * Both are measured in docs/measurements/clone.md.
 */
export function spareMemoryAndCompiler(): void {
  setFlagsFromString('--heap-growing-percent=50');
  setFlagsFromString('--interrupt-budget=5000000');
}
