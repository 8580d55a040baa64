import type { EntityMetadata } from 'typeorm';
import type { Expressions } from '../../../../src/typeorm/query/any-query-builder';
import { NamedStatements } from '../../../../src/typeorm/query/named-statements';

/** Those of a statement about one entity, or about as many as asked for. */
function expressionsOf(
  metadata: object,
  { name = 'bed', aliasNamePrefixingEnabled = false, disableEscaping = true, entities = 1 } = {},
): Expressions {
  const alias = { name, hasMetadata: true, metadata: metadata as EntityMetadata };
  const aliases = Array.from({ length: entities }, () => alias);
  return { aliases, aliasNamePrefixingEnabled, disableEscaping } as unknown as Expressions;
}

const BED = {};

describe('NamedStatements', () => {
  const statements = new NamedStatements();
  const name = jest.fn((sql: string) => sql.toUpperCase());
  const named = (sql: string, expressions = expressionsOf(BED)): string =>
    statements.named(sql, expressions, () => name(sql));

  beforeEach(() => {
    statements.clear();
    name.mockClear();
  });

  it('has a statement named once', () => {
    expect([named('a'), named('a'), named('b'), named('a')]).toEqual(['A', 'A', 'B', 'A']);
    expect(name.mock.calls).toEqual([['a'], ['b']]);
  });

  it.each([
    ['of another entity', expressionsOf({})],
    ['under another alias', expressionsOf(BED, { name: 'b', aliasNamePrefixingEnabled: true })],
    ['with names that are not escaped', expressionsOf(BED, { disableEscaping: false })],
  ])('has the same text %s named anew', (_, other) => {
    named('a');
    named('a', other);
    expect(name).toHaveBeenCalledTimes(2);
  });

  it('leaves statements of several entities, or of none, to TypeORM', () => {
    const two = expressionsOf(BED, { entities: 2 });
    const none = expressionsOf(BED, { entities: 0 });
    for (const expressions of [two, two, none, none]) named('a', expressions);
    expect(name).toHaveBeenCalledTimes(4);
  });

  it('forgets the oldest when there is too much text', () => {
    const long = (at: number): string => String(at).padEnd(100_000, 'x');
    for (const at of [1, 2, 3, 4, 5]) named(long(at));
    expect(name).toHaveBeenCalledTimes(5);
    for (const at of [5, 4, 3, 2, 1]) named(long(at));
    expect(name).toHaveBeenCalledTimes(5);
    named(long(6));
    named(long(1));
    expect(name).toHaveBeenCalledTimes(7);
    for (const at of [6, 5, 4, 3]) named(long(at));
    expect(name).toHaveBeenCalledTimes(7);
  });

  it('does not keep a statement that would drive out the others', () => {
    named('a');
    const huge = 'x'.repeat(300_000);
    named(huge);
    named(huge);
    named('a');
    expect(name.mock.calls.filter(([sql]) => sql === huge)).toHaveLength(2);
    expect(name.mock.calls.filter(([sql]) => sql === 'a')).toHaveLength(1);
  });
});
