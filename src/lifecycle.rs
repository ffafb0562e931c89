//! Events for a component's coming and going, the same for every Bevy that this crate builds with: the engine's own
//! observers of these are spelled differently in 0.19 and 0.20, its component hooks are not.
//!
//! They come once the commands of the moment are applied: what has to read a component before it goes has a hook of its own.
//!
//! `#[component(on_add = lifecycle::added::<Self>)]` on the component, `On<ComponentAdded<C>>` as the observer's parameter.

use std::marker::PhantomData;

use bevy::{
    ecs::{lifecycle::HookContext, world::DeferredWorld},
    prelude::*,
};

macro_rules! lifecycle {
    ($($event:ident $hook:ident: $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(EntityEvent)]
        pub(crate) struct $event<C: Component> {
            pub entity: Entity,
            component: PhantomData<C>,
        }

        pub(crate) fn $hook<C: Component>(mut world: DeferredWorld, context: HookContext) {
            world.trigger($event::<C> { entity: context.entity, component: PhantomData });
        }
    )*};
}

lifecycle! {
    ComponentAdded added: "An entity has the component now, and had it not.";
    ComponentInserted inserted: "The component was added, or has another value.";
    ComponentRemoved removed: "The component was removed, or the entity is gone.";
}
