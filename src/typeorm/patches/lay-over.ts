import type { DataSource } from 'typeorm';

import { isInstalled } from '../installation/installation';

/** What TypeORM's classes have that belong to a DataSource. */
interface OfDataSource {
  readonly connection: DataSource;
}

type Method = (this: OfDataSource, ...args: unknown[]) => unknown;

/** A class of TypeORM, whatever its constructor takes, and a class that extends it. */
interface AnyClass {
  readonly prototype: object;
}

/**
 * Lays the methods of a class over those of the class of TypeORM that it extends, for the objects of
 * wrapped DataSources; those of others run the methods that were there, no matter what put them there.
 *
 * So it does not matter who makes an object and by which constructor: a DataSource, another library
 * that copies a builder, or TypeORM itself. The class is never constructed, and `super` in it stands
 * for what the methods were before.
 */
export function layOver(base: AnyClass, layer: AnyClass): void {
  // Not all versions of TypeORM have all of them.
  const names = Object.getOwnPropertyNames(layer.prototype).filter(
    (name) => name !== 'constructor' && name in base.prototype,
  );
  const before = methodsBefore(base.prototype, names);
  for (const name of names) {
    const layered = Reflect.get(layer.prototype, name) as Method;
    const call: Method = function (...args) {
      const method = isInstalled(this.connection) ? layered : (Reflect.get(before, name) as Method);
      return method.apply(this, args);
    };
    // Some libraries tell versions of TypeORM by the number of parameters.
    const { length } = Reflect.get(before, name) as Method;
    Object.defineProperties(call, { name: { value: name }, length: { value: length } });
    Object.defineProperty(base.prototype, name, {
      configurable: true,
      writable: true,
      value: call,
    });
  }
  Object.setPrototypeOf(layer.prototype, before);
}

/** The methods as they are now. An inherited one is looked up at each call: somebody may change it there. */
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
