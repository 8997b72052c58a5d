/** The chart: lag over time, or without a stream what was copied. Drawn by uPlot, which the page loads before this. */
import type { Sample } from '../../../catalog/run-status.js';
import { formatBytes, formatSeconds } from '../format.js';
import { byId, setText } from './dom.js';

export type ChartKind = 'seconds' | 'bytes' | 'copied';

/** Seconds between the labels of the time: below one they would say the same twice. */
const timeSteps = [
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800],
  ...[3600, 7200, 10_800, 21_600, 43_200, 86_400],
];

/** Below a second a label has one digit. */
const lagSteps = [0.1, 0.2, 0.5];

/** A day of samples, one a minute, and ten minutes of closer ones. */
const maxSamples = 2400;

export class Chart {
  readonly #place = byId('chart');
  readonly #samples = new Map<number, Sample>();
  #kind: ChartKind = 'seconds';
  #plot: uPlot | null = null;
  #dirty = false;

  constructor() {
    new ResizeObserver(() => {
      const { clientWidth: width, clientHeight: height } = this.#place;
      if (width > 0) this.#plot?.setSize({ width, height });
    }).observe(this.#place);
  }

  add(samples: readonly Sample[]): void {
    for (const sample of samples) this.#samples.set(sample.atMs, sample);
    const tooMany = this.#samples.size - maxSamples;
    if (tooMany > 0) {
      for (const atMs of [...this.#samples.keys()].toSorted((a, b) => a - b).slice(0, tooMany))
        this.#samples.delete(atMs);
    }
    this.#later();
  }

  show(kind: ChartKind): void {
    if (kind === this.#kind && this.#plot !== null) return;
    this.#kind = kind;
    this.redraw();
  }

  /** Anew, with the colours that hold now. */
  redraw(): void {
    this.#plot?.destroy();
    this.#plot = null;
    this.#later();
  }

  /** Once a frame, however much arrives. */
  #later(): void {
    if (this.#dirty) return;
    this.#dirty = true;
    requestAnimationFrame(() => {
      this.#dirty = false;
      this.#draw();
    });
  }

  #draw(): void {
    const data = this.#data();
    const [, values] = data;
    const known = values.filter((value) => value !== null);
    this.#place.setAttribute('aria-label', this.#describe(known));
    if (known.length < 2) return;
    if (this.#plot === null) this.#plot = new uPlot(this.#options(), data, this.#place);
    else this.#plot.setData(data);
  }

  #data(): [number[], (number | null)[]] {
    const samples = [...this.#samples.values()].toSorted((a, b) => a.atMs - b.atMs);
    return [samples.map(({ atMs }) => atMs / 1000), samples.map((sample) => valueOf(sample, this.#kind))];
  }

  #describe(values: readonly number[]): string {
    const last = values.at(-1);
    if (last === undefined) return 'No data yet';
    const text = (value: number) => label(value, this.#kind);
    const what = this.#kind === 'copied' ? 'Rows copied over time' : 'Lag over time';
    return `${what}: ${text(last)} now, ${text(Math.max(...values))} at most`;
  }

  #options(): uPlot.Options {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour('--soft'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
      font: '12px system-ui, sans-serif',
    };
    const kind = this.#kind;
    return {
      width: this.#place.clientWidth,
      height: this.#place.clientHeight,
      cursor: { y: false, points: { size: 7 } },
      legend: { show: false },
      padding: [12, 28, 0, 0],
      scales: {
        x: { time: true },
        y: { range: (_plot, _low, high) => [0, Math.max(kind === 'seconds' ? 1 : 1024, high * 1.15)] },
      },
      axes: [
        { ...axis, size: 34, space: 80, incrs: timeSteps, values: (_plot, splits) => timeLabels(splits) },
        {
          ...axis,
          size: 74,
          values: (_plot, splits) => splits.map((value) => label(value, kind)),
          ...(kind === 'seconds' ? { incrs: [...lagSteps, ...timeSteps] } : {}),
        },
      ],
      series: [
        {},
        { stroke: colour('--accent'), width: 2, fill: `${colour('--accent')}22`, points: { show: false } },
      ],
      hooks: { setCursor: [(plot) => sayAt(plot, kind)] },
    };
  }
}

function valueOf(sample: Sample, kind: ChartKind): number | null {
  switch (kind) {
    case 'seconds':
      return sample.lagMs === null ? null : sample.lagMs / 1000;
    case 'bytes':
      return sample.behind;
    case 'copied':
      return sample.copied;
  }
  return kind satisfies never;
}

/** `10:15`, with seconds where they tell something. */
function timeLabels(splits: readonly number[]): string[] {
  const [first = 0, second = 0] = splits;
  const options: Intl.DateTimeFormatOptions = {
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    ...(second - first < 60 ? { second: '2-digit' } : {}),
  };
  return splits.map((at) => new Date(at * 1000).toLocaleTimeString([], options));
}

function label(value: number, kind: ChartKind): string {
  return kind === 'seconds' ? formatSeconds(value * 1000) : formatBytes(value);
}

/** What is under the pointer, in the place of the title. */
function sayAt(plot: uPlot, kind: ChartKind): void {
  const title = byId('chart-title');
  const { idx } = plot.cursor;
  const at = idx === null || idx === undefined ? undefined : plot.data[0][idx];
  const value = idx === null || idx === undefined ? undefined : plot.data[1]?.[idx];
  const name = kind === 'copied' ? 'Rows copied' : 'Lag';
  if (at === undefined || value === undefined || value === null) setText(title, name);
  else setText(title, `${name} at ${new Date(at * 1000).toLocaleTimeString()}: ${label(value, kind)}`);
}
