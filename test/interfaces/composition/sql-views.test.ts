import { sqlViewsContract } from '../../contracts/sql-views.contract.ts';
import { onEachEngine } from '../../support/each-engine.ts';
import { servedViews } from '../../support/served-views.ts';

onEachEngine('Views for analysts', (open) => sqlViewsContract(async () => servedViews(await open())));
