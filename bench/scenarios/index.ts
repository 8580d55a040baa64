import type { Scenario } from '../scenario';

import { entities, entitiesBesidePeer } from './entities';
import { http } from './http';
import { keys } from './keys';
import { oneValue } from './one-value';
import { pkcs11 } from './pkcs11';
import { rotation } from './rotation';
import { token } from './token';
import { withoutAddOn } from './without-add-on';

export const SCENARIOS = {
  'one-value': oneValue,
  token,
  'token-javascript': withoutAddOn(token),
  entities,
  'entities-javascript': withoutAddOn(entitiesBesidePeer),
  rotation,
  keys,
  http,
  pkcs11,
} satisfies Record<string, Scenario>;

export type ScenarioName = keyof typeof SCENARIOS;
