const MOST_KEYS = 1_000;

/** Remembers which data keys lack the part of which provider, as far as this process has met them. */
export class PartlyWrapped {
  readonly #missing = new Map<string, readonly string[]>();

  /** Whether it is news that these are missing. */
  note(keyId: string, missing: readonly string[]): boolean {
    const known = this.#missing.get(keyId)?.join() ?? '';
    if (missing.length === 0) this.#missing.delete(keyId);
    else if (this.#missing.size < MOST_KEYS) this.#missing.set(keyId, missing);
    return missing.length > 0 && missing.join() !== known;
  }

  /** Such as `2 data keys not wrapped by aws`; empty when there is nothing to say. */
  describe(): string {
    const counts = new Map<string, number>();
    for (const label of [...this.#missing.values()].flat()) {
      counts.set(label, (counts.get(label) ?? 0) + 1);
    }
    return [...counts]
      .map(
        ([label, count]) =>
          `${String(count)} data key${count === 1 ? '' : 's'} not wrapped by ${label}`,
      )
      .join(', ');
  }
}
