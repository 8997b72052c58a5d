/** The page's elements, and the few things that are done to them. */

/** An element of the page's own markup (html.ts), which has it. */
export function byId(id: string): HTMLElement {
  return expect(id, HTMLElement);
}

export function progressById(id: string): HTMLProgressElement {
  return expect(id, HTMLProgressElement);
}

export function buttonById(id: string): HTMLButtonElement {
  return expect(id, HTMLButtonElement);
}

export function inputById(id: string): HTMLInputElement {
  return expect(id, HTMLInputElement);
}

export function dialogById(id: string): HTMLDialogElement {
  return expect(id, HTMLDialogElement);
}

function expect<Kind extends HTMLElement>(id: string, kind: new () => Kind): Kind {
  const element = document.querySelector(`#${id}`);
  if (element instanceof kind) return element;
  throw new Error(`the page has no ${kind.name} #${id}`);
}

/** Sets a text where it is another: what does not change is not touched, so that a selection stays. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Makes an element with a class and a text. */
export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  className = '',
  text = '',
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  if (className !== '') element.className = className;
  if (text !== '') element.textContent = text;
  return element;
}

/** Shows pairs of a name and a value. */
export function setFacts(list: HTMLElement, facts: readonly (readonly [string, string])[]): void {
  const key = JSON.stringify(facts);
  if (list.dataset['shown'] === key) return;
  list.dataset['shown'] = key;
  list.replaceChildren(...facts.flatMap(([name, value]) => [make('dt', '', name), make('dd', '', value)]));
}
