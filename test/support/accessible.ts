/** What a page owes to people who see little, or use no mouse: asked of the page as the browser has it. */
import axe from 'axe-core';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';

/** WCAG 2.2, level AA: contrast of text (4.5, large text 3) among it, and names of everything that can be operated. */
const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

type Node = {
  readonly target: readonly string[];
  readonly failureSummary?: string;
  readonly any: readonly { readonly data?: { readonly messageKey?: string } | null }[];
};
type Result = { readonly id: string; readonly nodes: readonly Node[] };

/** Contrast is not computed of signs that are no letters (→, ✓), nor of lines that are scrolled half away. */
const notComputed = ['nonBmp', 'elmPartiallyObscured'];

/** Expects no violation, and no text whose contrast could not be computed. */
export async function expectAccessible(page: Page): Promise<void> {
  await page.evaluate(axe.source);
  const { violations, incomplete } = await page.evaluate<{ violations: Result[]; incomplete: Result[] }>(
    `axe.run(document, { runOnly: ${JSON.stringify(tags)} })`,
  );
  const unknown = incomplete
    .filter(({ id }) => id === 'color-contrast')
    .map(({ id, nodes }) => ({
      id,
      nodes: nodes.filter(
        ({ any }) => !any.every(({ data }) => notComputed.includes(data?.messageKey ?? '')),
      ),
    }));
  const told = [...violations, ...unknown].flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary = '' }) => `${id} at ${target.join(' ')}: ${failureSummary}`),
  );
  expect(told).toEqual([]);
}

const operable = `[...document.querySelectorAll('a[href], button, input, [tabindex="0"]')].filter(
  (one) => !one.disabled && one.checkVisibility())`;

/** How an element is named in a failure, and how its outline stands out from what is around it. */
const describe = `(one) => (one.id || one.getAttribute('aria-label') || one.textContent.trim())`;

/** Expects that the Tab key reaches everything that can be operated, and shows where it is. */
export async function expectKeyboard(page: Page): Promise<void> {
  const wanted = await page.evaluate<string[]>(`${operable}.map(${describe})`);
  await page.evaluate('document.activeElement?.blur()');
  const reached = new Set<string>();
  for (let presses = 0; presses < wanted.length + 1; presses += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate<{ name: string; outline: string } | null>(`(() => {
      const one = document.activeElement;
      if (one === null || one === document.body) return null;
      const { outlineStyle, outlineWidth } = getComputedStyle(one);
      return { name: (${describe})(one), outline: outlineStyle + ' ' + outlineWidth };
    })()`);
    if (at === null) continue;
    expect(at.outline, at.name).toBe('solid 2px');
    reached.add(at.name);
  }
  expect([...reached].toSorted()).toEqual([...new Set(wanted)].toSorted());
}
