import type { Shown } from '../../monitor/terminal.js';
import type { Command, CommandContext } from '../command.js';
import { controlTarget, sharedToken } from '../control.js';

/** Shows a run of this machine by its work directory, or one that listens elsewhere; or serves its page. */
export const command: Command = {
  path: 'monitor',
  group: 'O',
  summary: 'show how a run stands, in the terminal or as a page (--web); q ends it',
  options: ['dir', 'coordinator-host', 'coordinator-port', 'interval', 'web', 'listen', 'source'],
  needs: [],
  endsByStop: true,
  run: async (context) => {
    if (context.settings.web) return await servePage(context);
    await show(context);
  },
};

/** Until it is stopped; the run itself may begin and end meanwhile. */
async function servePage(context: CommandContext): Promise<void> {
  const { settings, environment, log, signal } = context;
  const { ControlServer, planControl } = await import('../../control/server.js');
  const { monitorPages } = await import('../../monitor/pages.js');
  const { requireCatalogToRead } = await import('../../catalog/work-directory.js');
  const { closeCatalog } = await import('../../catalog/database.js');
  const { Failure } = await import('../../failure.js');
  // A directory without a run would be made by the token that is put into it.
  closeCatalog(requireCatalogToRead(settings.directory));
  const token = sharedToken(environment);
  const choices = { ...settings.listen, token, pages: monitorPages, fromStart: true };
  await using server = await ControlServer.open({
    plan: await planControl(choices),
    directory: settings.directory,
    journalDirectory: settings.journalDirectory,
    source: settings.source === null ? null : context.source(),
    log,
  });
  if ((server?.port ?? null) === null) {
    const { host, port } = settings.listen;
    throw new Failure('control-unreachable', `the page cannot be served on ${host} port ${port}`, {
      remedy: 'Choose another address with --listen.',
    });
  }
  await stopped(signal);
}

async function show(context: CommandContext): Promise<void> {
  const { settings, environment, signal, stdout, progress } = context;
  const { directorySource, remoteSource } = await import('../../monitor/source.js');
  const { colours, noPaint, renderLine, renderScreen } = await import('../../monitor/terminal.js');
  const target = await controlTarget(context);
  const source = target === null ? directorySource(settings.directory) : remoteSource(target);
  const everyMs = settings.intervalSeconds * 1000;
  // What cannot be looked at at all is said at once, and as the command's failure.
  let shown = await source.look();
  const quit = new AbortController();
  const end = AbortSignal.any([signal, quit.signal]);
  if (settings.json || !process.stdout.isTTY) {
    for (;;) {
      await stdout(
        settings.json ? `${JSON.stringify(shown.status)}\n` : `${timed(shown)}${renderLine(shown.status)}\n`,
      );
      await waited(everyMs, end);
      if (end.aborted) return;
      shown = await lookAgain(() => source.look(), shown);
    }
  }
  const { openScreen } = await import('../screen.js');
  const noColour = environment['NO_COLOR'];
  const paint = noColour === undefined || noColour === '' ? colours : noPaint;
  progress.hide();
  using screen = openScreen({
    output: process.stdout,
    input: process.stdin,
    onQuit: () => quit.abort(),
    onResize: () => draw(),
  });
  function draw(): void {
    screen.draw(renderScreen(shown, screen.size(), paint));
  }
  while (!end.aborted) {
    draw();
    await waited(everyMs, end);
    shown = await lookAgain(() => source.look(), shown);
  }
}

function timed({ status }: Shown): string {
  return `${new Date(status.atMs).toISOString()} `;
}

/** A run that ends, restarts or loses its network is shown as it was, with the reason: whoever looks on stays. */
async function lookAgain(look: () => Promise<Shown>, before: Shown): Promise<Shown> {
  try {
    return await look();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { ...before, status: { ...before.status, warnings: [`This is old: ${reason}`] } };
  }
}

function waited(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, milliseconds);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    if (signal.aborted) done();
    else signal.addEventListener('abort', done, { once: true });
  });
}

function stopped(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
