import { measurementOf } from './measure';
import type { Measurement } from './measure';
import { ratioOf } from './ratio';
import type { Result } from './scenario';
import { VARIANTS } from './variants';

/** A promise about the figures of one run: a variant over another one, or a figure by itself. */
export interface Bound {
  readonly scenario: string;
  /** End of the settings that it is about. Defaults to all. */
  readonly setting?: string;
  readonly variant: string;
  readonly over?: string;
  /** Named figure that is compared. Defaults to the median time. */
  readonly figure?: string;
  readonly atMost: number;
  /** Whether only a run with `--large` measures it. */
  readonly large?: boolean;
}

/** What became of a bound in one setting. */
export interface Verdict {
  readonly bound: Bound;
  readonly setting: string;
  /** `undefined` where a variant of the bound was not measured. */
  readonly value: number | undefined;
}

const { xaes, xchacha } = VARIANTS;
const WRITES = [
  'save() of new entities in chunks',
  'save() of new entities one by one',
  'insert() in chunks',
  'update() of one secret column',
];

const BOUNDS: readonly Bound[] = [
  ...['encrypt 64 B', 'decrypt 64 B'].flatMap((scenario) => [
    { scenario, variant: xaes, over: VARIANTS.gcmFloor, atMost: 1.25 },
    { scenario, variant: xchacha, over: VARIANTS.sodiumFloor, atMost: 1.5 },
  ]),
  {
    scenario: 'blind-index token',
    variant: VARIANTS.blindIndex,
    over: VARIANTS.hmacFloor,
    atMost: 1.1,
  },
  { scenario: 'find()', variant: xaes, over: VARIANTS.transformer, atMost: 1.1 },
  { scenario: 'find()', variant: xaes, over: VARIANTS.typeormEncrypted, atMost: 1 },
  { scenario: 'find()', variant: xchacha, over: VARIANTS.plain, atMost: 2.7 },
  { scenario: 'find()', variant: xchacha, over: VARIANTS.typeormEncrypted, atMost: 0.45 },
  ...WRITES.flatMap((scenario) =>
    [xaes, xchacha].map((variant) => ({
      scenario,
      variant,
      over: VARIANTS.transformer,
      atMost: 1.1,
    })),
  ),
  ...[xaes, xchacha].map((variant) => ({
    scenario: 'save() of untouched entities',
    variant,
    over: VARIANTS.plain,
    atMost: 1.3,
  })),
  {
    scenario: 'rotation',
    setting: 'PostgreSQL',
    variant: VARIANTS.reencrypt,
    over: VARIANTS.serverSide,
    atMost: 1 / 0.25,
  },
  {
    scenario: 'rotation',
    setting: 'SQLite file',
    variant: VARIANTS.reencrypt,
    over: VARIANTS.serverSide,
    atMost: 1 / 0.08,
  },
  {
    scenario: 'rotation of a growing table',
    variant: '1000000 rows',
    over: '10000 rows',
    figure: 'peak MB',
    atMost: 1.2,
    large: true,
  },
  { scenario: 'start-up', variant: '10000 data keys', over: '1 data key', atMost: 2 },
  {
    scenario: 'find() with a cold key cache',
    variant: 'a KMS 10 ms away',
    figure: 'KMS round-trip times',
    atMost: 10,
  },
  { scenario: 'PKCS #11', variant: VARIANTS.pkcs11Kms, over: VARIANTS.bareHsm, atMost: 1 / 0.8 },
];

/** Holds every bound against the results; one that nothing was measured for has a verdict too. */
export function judge(results: readonly Result[], bounds: readonly Bound[] = BOUNDS): Verdict[] {
  return bounds.flatMap((bound): Verdict[] => {
    const about = results.filter(
      ({ scenario, setting }) =>
        scenario === bound.scenario && setting.endsWith(bound.setting ?? ''),
    );
    if (about.length === 0) return [{ bound, setting: '', value: undefined }];
    return about.map(({ setting, measurements }) => ({
      bound,
      setting,
      value: valueOf(bound, measurements),
    }));
  });
}

/** Not measured is not held. */
export function isHeld({ bound, value }: Verdict): boolean {
  return value !== undefined && value <= bound.atMost;
}

/** In words, without the setting unless the bound is about a certain one. */
export function boundName({ scenario, setting, variant, over, figure }: Bound): string {
  const what = figure === undefined ? variant : `${figure} of ${variant}`;
  const where = setting === undefined ? scenario : `${scenario}, ${setting}`;
  return `${where}: ${what}${over === undefined ? '' : ` over ${over}`}`;
}

function valueOf(bound: Bound, measurements: readonly Measurement[]): number | undefined {
  const variant = measurementOf(measurements, bound.variant);
  if (variant === undefined) return undefined;
  const { figure, over } = bound;
  if (over === undefined) return figure === undefined ? variant.medianMs : variant.figures[figure];
  const base = measurementOf(measurements, over);
  if (base === undefined) return undefined;
  return figure === undefined ? ratioOf(variant, base) : ratioOfFigures(figure, variant, base);
}

function ratioOfFigures(
  figure: string,
  { figures }: Measurement,
  base: Measurement,
): number | undefined {
  const [value, baseValue] = [figures[figure], base.figures[figure]];
  return value === undefined || baseValue === undefined ? undefined : value / baseValue;
}
