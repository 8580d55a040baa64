import 'reflect-metadata';

import { answer } from '../child';
import type { Setting } from '../scenario';
import { SCENARIOS } from '../scenarios';
import type { ScenarioName } from '../scenarios';

export interface RunQuestion {
  readonly scenario: ScenarioName;
  readonly setting: Setting;
}

answer(({ scenario, setting }: RunQuestion) => SCENARIOS[scenario].run(setting));
