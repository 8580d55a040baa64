import type { DataSource } from 'typeorm';

import { isInstalled } from '../installation/installations';

/** Overrides a method of one object. `replace` gets the method as it was, bound to the object. */
export function override<T extends object, K extends keyof T>(
  object: T,
  name: K,
  replace: (before: T[K]) => T[K],
): void {
  const before = object[name] as Method;
  object[name] = replace(before.bind(object as OfDataSource) as T[K]);
}

/** An object of TypeORM that belongs to a DataSource. */
interface OfDataSource {
  readonly connection: DataSource;
}

type Method = (this: OfDataSource, ...args: unknown[]) => unknown;

/** A class of TypeORM, whatever its constructor takes, and a class that extends it. */
interface AnyClass {
  readonly prototype: object;
}

/**
 * Overrides methods of a class of TypeORM by those of a class that extends it, for the objects of
 * wrapped DataSources. Other objects run the previous methods, which need not be TypeORM's own.
 *
 * It makes no difference who creates an object and by which constructor: a DataSource, another library
 * that copies a builder, or TypeORM itself. The extending class is never constructed, and `super` in it
 * is the method as it was before.
 */
export function overrideClass(base: AnyClass, extending: AnyClass): void {
  // Not all versions of TypeORM have all of them.
  const names = Object.getOwnPropertyNames(extending.prototype).filter(
    (name) => name !== 'constructor' && name in base.prototype,
  );
  const before = methodsBefore(base.prototype, names);
  for (const name of names) {
    const overriding = Reflect.get(extending.prototype, name) as Method;
    const call: Method = function (...args) {
      const method = isInstalled(this.connection)
        ? overriding
        : (Reflect.get(before, name) as Method);
      return method.apply(this, args);
    };
    // Some libraries tell versions of TypeORM apart by the number of parameters.
    const { length } = Reflect.get(before, name) as Method;
    Object.defineProperties(call, { name: { value: name }, length: { value: length } });
    Object.defineProperty(base.prototype, name, {
      configurable: true,
      writable: true,
      value: call,
    });
  }
  Object.setPrototypeOf(extending.prototype, before);
}

/** Returns the methods as they are now. Looks inherited ones up at each call, as they may be overridden later. */
function methodsBefore(prototype: object, names: readonly string[]): object {
  const parent = Object.getPrototypeOf(prototype) as object;
  const before = Object.create(prototype) as object;
  for (const name of names) {
    const own = Object.getOwnPropertyDescriptor(prototype, name);
    const inherited = { get: (): unknown => Reflect.get(parent, name) };
    Object.defineProperty(before, name, own ?? inherited);
  }
  return before;
}
