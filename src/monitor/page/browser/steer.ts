/**
 * Setting things, for whoever has the token. Each change is confirmed, sent as a request of its own, and what the run
 * answers is shown; the page's live data then shows the rest.
 */
import type { RunStatus } from '../../status.js';
import { buttonById, byId, dialogById, inputById, setText } from './dom.js';

const tokenKey = 'walferry-token';

type Change = {
  readonly title: string;
  readonly text: string;
  readonly yes: string;
  readonly danger: boolean;
  readonly path: string;
  readonly body: object;
  readonly done: string;
};

export class Steer {
  #token: string | null = null;
  #marks = false;
  #status: RunStatus | null = null;
  readonly #onToken: () => void;

  /** `onToken` is called when a token was given: the live data may need it. */
  constructor(onToken: () => void) {
    this.#onToken = onToken;
    this.#token = tokenOfAddress() ?? sessionStorage.getItem(tokenKey);
    byId('unlock').addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#unlock(inputById('token').value.trim());
    });
    byId('lock').addEventListener('click', () => this.#forget());
    byId('apply').addEventListener('click', () => void this.#ask(this.#applyChange()));
    byId('endpos').addEventListener('click', () => void this.#ask(this.#endChange()));
    if (this.#token !== null) void this.#unlock(this.#token);
  }

  get token(): string | null {
    return this.#token;
  }

  /** What the server says of itself: whether it can mark where the source is. */
  hello(marks: boolean): void {
    this.#marks = marks;
    this.#show();
  }

  status(status: RunStatus): void {
    this.#status = status;
    this.#show();
  }

  #show(): void {
    const stream = this.#status?.stream ?? null;
    byId('steer-card').hidden = stream === null && byId('unlock-error').textContent === '';
    if (stream === null) return;
    const ended = ['done', 'failed', 'stopped'].includes(this.#status?.state ?? '');
    setText(byId('apply'), stream.applyEnabled ? 'Pause' : 'Apply');
    setText(
      byId('apply-about'),
      stream.applyEnabled
        ? 'Changes are applied as they come. A pause holds for the next start; a run that applies already goes on.'
        : 'Changes are received and kept. The target stays as it is.',
    );
    const apply = buttonById('apply');
    apply.disabled = ended;
    const endpos = buttonById('endpos');
    setText(endpos, stream.endpos === null ? 'End here' : 'Take back');
    endpos.disabled = ended || (stream.endpos === null && !this.#marks);
    setText(byId('endpos-about'), this.#aboutEnd(stream.endpos));
  }

  #aboutEnd(endpos: string | null): string {
    if (endpos !== null) return `Set to ${endpos}: the run ends when everything up to it is applied.`;
    return this.#marks
      ? 'Ends the run once everything is applied that the source has committed by now.'
      : 'Start walferry monitor --web with --source to set it from here.';
  }

  #applyChange(): Change {
    const on = this.#status?.stream?.applyEnabled !== true;
    return {
      title: on ? 'Apply changes?' : 'Pause applying?',
      text: on
        ? 'What was received so far is applied to the target, and what comes from now on.'
        : 'The next start of this stream will only receive. A run that applies already goes on to its end.',
      yes: on ? 'Apply' : 'Pause',
      danger: false,
      path: '/v1/sentinel',
      body: { apply: on },
      done: on ? 'Applying is enabled.' : 'Applying is disabled.',
    };
  }

  #endChange(): Change {
    if ((this.#status?.stream?.endpos ?? null) !== null) {
      return {
        title: 'Take the end position back?',
        text: 'The run goes on following until another end position is set.',
        yes: 'Take back',
        danger: false,
        path: '/v1/sentinel',
        body: { endpos: '0/0' },
        done: 'No end position is set any more.',
      };
    }
    return {
      title: 'End the run here?',
      text: 'The end position is set to where the source is now. Has the application stopped writing? What it writes later is not on the target. The run drains, adds foreign keys and triggers, and ends.',
      yes: 'Set the end position',
      danger: true,
      path: '/v1/mark',
      body: {},
      done: 'The end position is set.',
    };
  }

  async #ask(change: Change): Promise<void> {
    const dialog = dialogById('confirm');
    setText(byId('confirm-title'), change.title);
    setText(byId('confirm-text'), change.text);
    const yes = byId('confirm-yes');
    setText(yes, change.yes);
    yes.className = change.danger ? 'danger' : '';
    dialog.returnValue = '';
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener('close', resolve, { once: true }));
    if (dialog.returnValue !== 'yes') return;
    setText(byId('steer-result'), 'Asking the run …');
    const { status, message } = await this.#send(change.path, change.body);
    setText(byId('steer-result'), status === 200 ? change.done : message);
    if (status === 401) this.#forget(message);
  }

  async #unlock(token: string): Promise<void> {
    if (token === '') return;
    this.#token = token;
    // Asks for nothing to be set: who has no token is told so, and who has it that there is nothing to set.
    const { status, message } = await this.#send('/v1/sentinel', {});
    if (status === 401 || status === 0) return this.#forget(message);
    sessionStorage.setItem(tokenKey, token);
    inputById('token').value = '';
    setText(byId('unlock-error'), '');
    byId('unlock').hidden = true;
    byId('steering').hidden = false;
    this.#onToken();
  }

  #forget(why = ''): void {
    this.#token = null;
    sessionStorage.removeItem(tokenKey);
    setText(byId('unlock-error'), why);
    byId('unlock').hidden = false;
    byId('steering').hidden = true;
    this.#show();
  }

  async #send(path: string, body: object): Promise<{ status: number; message: string }> {
    try {
      const response = await fetch(path, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          authorization: `Bearer ${encodeURIComponent(this.#token ?? '')}`,
        },
        body: JSON.stringify(body),
      });
      const answer = (await response.json()) as { readonly error?: { readonly message?: string } };
      return { status: response.status, message: answer.error?.message ?? '' };
    } catch {
      return { status: 0, message: 'The run cannot be reached.' };
    }
  }
}

/** `#token=…` behind the address: it is not sent to any server, and taken out of the address at once. */
function tokenOfAddress(): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token !== null) history.replaceState(null, '', location.pathname);
  return token;
}
