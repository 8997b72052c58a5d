/**
 * A headless Chromium that looks at a page as a person would. What a page must never do is collected: errors on its
 * console, exceptions, requests to anywhere but its own address.
 */
import { existsSync } from 'node:fs';
import { chromium, type BrowserContextOptions, type Page } from 'playwright-core';

/** Debian's package; elsewhere CHROMIUM names one. `npm run setup` installs it where it may. */
const places = [process.env['CHROMIUM'] ?? '', '/usr/bin/chromium', '/usr/bin/chromium-browser'];

export type WatchedPage = AsyncDisposable & {
  readonly page: Page;
  /** Console errors and warnings, exceptions, failed requests. */
  readonly troubles: string[];
  /** Addresses outside of the page's own. */
  readonly outside: string[];
  /** Opens the page once more, in other colours or another size. */
  readonly another: (options: BrowserContextOptions) => Promise<Page>;
};

const chromiumArguments = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Opens a browser with a profile of its own, and the page in it. */
export async function openPage(url: string, options: BrowserContextOptions = {}): Promise<WatchedPage> {
  const executablePath = places.find((place) => place !== '' && existsSync(place));
  if (executablePath === undefined)
    throw new Error('no Chromium: run npm run setup, or name one in CHROMIUM');
  const browser = await chromium.launch({ executablePath, args: chromiumArguments });
  const troubles: string[] = [];
  const outside: string[] = [];
  const { origin } = new URL(url);
  const open = async (more: BrowserContextOptions) => {
    const context = await browser.newContext({ viewport: { width: 1280, height: 1000 }, ...more });
    const page = await context.newPage();
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') troubles.push(message.text());
    });
    page.on('pageerror', (error) => troubles.push(String(error)));
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== origin) outside.push(request.url());
    });
    await page.goto(url);
    return page;
  };
  try {
    const page = await open(options);
    return { page, troubles, outside, another: open, [Symbol.asyncDispose]: () => browser.close() };
  } catch (error) {
    await browser.close();
    throw error;
  }
}
