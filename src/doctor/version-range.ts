/** Whether a version is in a range of this package's manifest: `^1.2.3`, `^4`, joined by `||`. */
export function isInRange(version: string, range: string): boolean {
  return range.split('||').some((caret) => isCompatible(version, caret.trim().replace('^', '')));
}

/** Whether a version is the other one or a later one; pre-releases count as the version itself. */
export function isAtLeast(version: string, other: string): boolean {
  const [a, b] = [partsOf(version), partsOf(other)];
  const at = a.findIndex((part, i) => part !== b[i]);
  return at === -1 || (a[at] ?? 0) > (b[at] ?? 0);
}

/** As npm's caret: the first part that is not 0 must be the same. */
function isCompatible(version: string, wanted: string): boolean {
  const [a, b] = [partsOf(version), partsOf(wanted)];
  const fixed = b.findIndex((part) => part !== 0);
  const same = a.slice(0, fixed + 1).every((part, i) => part === b[i]);
  return same && isAtLeast(version, wanted);
}

function partsOf(version: string): number[] {
  const [release = ''] = version.split(/[-+]/);
  const parts = release.split('.').map(Number);
  return [0, 1, 2].map((i) => parts[i] ?? 0);
}
