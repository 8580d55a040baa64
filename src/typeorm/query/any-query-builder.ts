import type { ObjectLiteral, QueryBuilder } from 'typeorm';

/** The part of a query builder that is used, whatever it builds. */
export type AnyQueryBuilder = Pick<
  QueryBuilder<ObjectLiteral>,
  'connection' | 'expressionMap' | 'hasParameter'
> & { setParameter(key: string, value: unknown): unknown };

/** TypeORM's expression map, whose type it does not export. */
export type Expressions = AnyQueryBuilder['expressionMap'];
