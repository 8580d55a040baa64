import { QueryBuilder } from 'typeorm';
import type { ObjectLiteral } from 'typeorm';

type Builder = QueryBuilder<ObjectLiteral>;
type BuilderClass = new (from: Builder) => Builder;
type Change = 'select' | 'insert' | 'update' | 'delete' | 'softDelete' | 'restore' | 'relation';

/**
 * Has a builder of ours for one kind of statement become one of ours for another: TypeORM takes its
 * own class, which knows nothing of encryption, and a sub-query begins at whatever builder is there.
 *
 * The new builder makes the change to itself. To make it first and then copy it, as TypeORM does,
 * would copy the whole statement twice for every write.
 */
export function changeInto(classes: Readonly<Record<Change, BuilderClass>>): void {
  const changes = Object.entries(classes) as [Change, BuilderClass][];
  for (const { prototype } of new Set(Object.values(classes))) {
    for (const [change, Target] of changes) {
      // A builder of the kind already stays what it is.
      if (Target.prototype === prototype) continue;
      const base = baseMethod(change);
      Object.defineProperty(prototype, change, {
        configurable: true,
        writable: true,
        value: function (this: Builder, ...args: unknown[]): unknown {
          return base.apply(new Target(this), args);
        },
      });
    }
  }
}

/** Of the abstract class, as TypeORM's own builders inherit it; overloads hide that all are called alike. */
function baseMethod(change: Change): (this: Builder, ...args: unknown[]) => unknown {
  const prototype = QueryBuilder.prototype as unknown as Record<Change, () => unknown>;
  return prototype[change];
}
