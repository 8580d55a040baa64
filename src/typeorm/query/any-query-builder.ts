import type { ObjectLiteral, QueryBuilder } from 'typeorm';

/** What this folder uses of a query builder, whatever it builds and for which entity. */
export type AnyQueryBuilder = Pick<
  QueryBuilder<ObjectLiteral>,
  'connection' | 'expressionMap' | 'hasParameter'
> & { setParameter(key: string, value: unknown): unknown };

/** TypeORM's expression map, whose type it does not export. */
export type Expressions = AnyQueryBuilder['expressionMap'];
