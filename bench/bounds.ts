import { measurementOf } from './measure';
import type { Measurement } from './measure';
import { ratioOf, spreadOf } from './ratio';
import type { Result } from './scenario';
import { WITHOUT_ADD_ON } from './scenarios/without-add-on';
import { VARIANTS } from './variants';

/** A bound on the figures of a run: on the ratio of two variants, or on a figure itself. */
export interface Bound {
  readonly scenario: string;
  /** Ending of the settings that it applies to. Defaults to all. */
  readonly setting?: string;
  readonly variant: string;
  readonly over?: string;
  /** Name of the figure to compare. Defaults to the median time. */
  readonly figure?: string;
  readonly atMost: number;
  /** Whether only a run with `--large` measures it. */
  readonly large?: boolean;
}

/** The verdict on a bound in one setting. */
export interface Verdict {
  readonly bound: Bound;
  readonly setting: string;
  /** `undefined` if a variant of the bound was not measured. */
  readonly value: number | undefined;
  /** Spread among the processes that measured it; 0 for one process. */
  readonly spread: number;
}

const { xaes, xaesJavaScript, xchacha, plain, sealed, typeormEncrypted } = VARIANTS;
const BATCHES = ['save() of new entities in chunks', 'insert() in chunks'];
const SINGLES = ['save() of new entities one by one', 'update() of one secret column'];
const UNTOUCHED = 'save() of untouched entities';

const BOUNDS: readonly Bound[] = [
  ...['encrypt 64 B', 'decrypt 64 B'].flatMap((scenario) => [
    // In a process of its own, with nothing else to compile, both take less than a quarter.
    {
      scenario,
      variant: xaes,
      over: VARIANTS.gcmFloor,
      atMost: scenario === 'encrypt 64 B' ? 0.35 : 0.25,
    },
    { scenario, variant: xaesJavaScript, over: VARIANTS.gcmFloor, atMost: 1.25 },
    { scenario, variant: xchacha, over: VARIANTS.sodiumFloor, atMost: 1.5 },
  ]),
  ...['', WITHOUT_ADD_ON].map((suffix) => ({
    scenario: `blind-index token${suffix}`,
    variant: VARIANTS.blindIndex,
    over: VARIANTS.hmacFloor,
    atMost: suffix === '' ? 0.6 : 1.2,
  })),
  { scenario: 'find()', variant: xaes, over: plain, atMost: 1.8 },
  { scenario: 'find()', variant: sealed, over: plain, atMost: 1.25 },
  { scenario: 'find()', variant: xaes, over: typeormEncrypted, atMost: 0.35 },
  { scenario: 'find()', variant: xchacha, over: typeormEncrypted, atMost: 0.6 },
  // A write pays for the fence in its statement and for the CHECK constraint of each column as well, which
  // SQLite compiles into every statement: without the constraint, insert() takes 1.38 and 1.28 times plain.
  ...BATCHES.flatMap((scenario) => [
    { scenario, setting: 'SQLite in memory', variant: xaes, over: plain, atMost: 1.7 },
    { scenario, setting: 'PostgreSQL', variant: xaes, over: plain, atMost: 1.4 },
  ]),
  ...SINGLES.map((scenario) => ({
    scenario,
    setting: 'PostgreSQL',
    variant: xaes,
    over: plain,
    atMost: 1.3,
  })),
  { scenario: UNTOUCHED, variant: xaes, over: plain, atMost: 1.3 },
  ...['find()', UNTOUCHED].map((scenario) => ({
    scenario: `${scenario}${WITHOUT_ADD_ON}`,
    variant: xaes,
    over: typeormEncrypted,
    atMost: 1.1,
  })),
  ...['findOneBy({ id })', ...BATCHES, ...SINGLES].map((scenario) => ({
    scenario: `${scenario}${WITHOUT_ADD_ON}`,
    variant: xaes,
    over: typeormEncrypted,
    atMost: 1.4,
  })),
  {
    scenario: 'rotation',
    setting: 'PostgreSQL',
    variant: VARIANTS.reencrypt,
    over: VARIANTS.serverSide,
    atMost: 1 / 0.38,
  },
  {
    scenario: 'rotation',
    setting: 'SQLite file',
    variant: VARIANTS.reencrypt,
    over: VARIANTS.serverSide,
    atMost: 1 / 0.23,
  },
  {
    scenario: 'rotation',
    setting: 'MariaDB',
    variant: VARIANTS.reencrypt,
    over: VARIANTS.serverSide,
    atMost: 1 / 0.2,
  },
  {
    scenario: 'rotation of a growing table',
    variant: '1000000 rows',
    over: '10000 rows',
    figure: 'peak MB',
    atMost: 1.2,
    large: true,
  },
  { scenario: 'start-up', variant: '1000 data keys', over: '1 data key', atMost: 2 },
  { scenario: 'start-up', variant: '10000 data keys', over: '1 data key', atMost: 2, large: true },
  {
    scenario: 'find() with a cold key cache',
    variant: 'a KMS 10 ms away',
    figure: 'KMS round-trip times',
    atMost: 10,
  },
  { scenario: 'PKCS #11', variant: VARIANTS.pkcs11Kms, over: VARIANTS.bareHsm, atMost: 1 / 0.8 },
];

/** Judges every bound by the results, including bounds that nothing was measured for. */
export function judge(results: readonly Result[], bounds: readonly Bound[] = BOUNDS): Verdict[] {
  return bounds.flatMap((bound): Verdict[] => {
    const about = results.filter(
      ({ scenario, setting }) =>
        scenario === bound.scenario && setting.endsWith(bound.setting ?? ''),
    );
    if (about.length === 0) return [{ bound, setting: '', value: undefined, spread: 0 }];
    return about.map(({ setting, measurements }) => ({
      bound,
      setting,
      ...valueOf(bound, measurements),
    }));
  });
}

/** Whether a bound was measured, and not exceeded by more than twice the spread. */
export function isHeld({ bound, value, spread }: Verdict): boolean {
  return value !== undefined && value - 2 * spread <= bound.atMost;
}

/** Names a bound, without the setting unless it applies to a certain one. */
export function boundName({ scenario, setting, variant, over, figure }: Bound): string {
  const what = figure === undefined ? variant : `${figure} of ${variant}`;
  const where = setting === undefined ? scenario : `${scenario}, ${setting}`;
  return `${where}: ${what}${over === undefined ? '' : ` over ${over}`}`;
}

function valueOf(
  bound: Bound,
  measurements: readonly Measurement[],
): Pick<Verdict, 'value' | 'spread'> {
  const variant = measurementOf(measurements, bound.variant);
  const { figure, over } = bound;
  const base = measurementOf(measurements, over ?? bound.variant);
  if (variant === undefined || base === undefined) return { value: undefined, spread: 0 };
  if (over === undefined) {
    const value = figure === undefined ? variant.medianMs : variant.figures[figure];
    return { value, spread: 0 };
  }
  return figure === undefined
    ? { value: ratioOf(variant, base), spread: spreadOf(variant, base) }
    : { value: ratioOfFigures(figure, variant, base), spread: 0 };
}

function ratioOfFigures(
  figure: string,
  { figures }: Measurement,
  base: Measurement,
): number | undefined {
  const [value, baseValue] = [figures[figure], base.figures[figure]];
  return value === undefined || baseValue === undefined ? undefined : value / baseValue;
}
